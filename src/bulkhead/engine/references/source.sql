-- name: prefer_indexes
-- Pages are read in the order of an index, however the planner rates it for the whole table.
set local enable_seqscan = off;
set local enable_sort = off;
set local enable_hashagg = off;
set local max_parallel_workers_per_gather = 0;
set local work_mem = '64MB';
set local statement_timeout = '300s'

-- name: count_rows
-- How many rows hold the reference.
select count(*)
from {table}
where {held}

-- name: page_by_key
-- The next distinct keys in their order, packed, and how many rows hold them.
select {packed} as keys, sum(page.rows)::bigint as rows
from (
  select {column} as key, count(*) as rows
  from {table}
  where {held}
    and {after}
  group by {column}
  order by {column}
  limit $1
) page

-- name: page_by_row
-- The distinct keys, packed, of the next rows in the order of the primary key.
with page as materialized (
  select {column} as key, {aliased}
  from {table}
  where {held}
    and {after}
  order by {path}
  limit $1
)
select
  (select {packed} from (select distinct key from page order by key) one) as keys,
  (select count(*) from page) as rows,
  (select jsonb_build_array({aliases})::text from page order by {aliases_down} limit 1) as last
