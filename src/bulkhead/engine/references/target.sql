-- name: key_range
-- The target's keys between two of the source's, packed, in their order.
select {packed}
from (
  select {column} as key
  from {table}
  where {column} >= $2::text::{type}
    and {column} <= $3::text::{type}
  order by {column}
  limit $1
) page

-- name: key_range_after
-- The keys that follow those of the range fetched before.
select {packed}
from (
  select {column} as key
  from {table}
  where {column} > $2::text::{type}
    and {column} <= $3::text::{type}
  order by {column}
  limit $1
) page

-- name: missing_keys
-- Those of the keys that have no row, and whether they were deleted.
select k.key,
  exists (
    select from bulkhead.tombstones d where d.table_name = $2 and d.key = k.key
  ) as tombstoned
from unnest($1::text[]) as k (key)
where not exists (select from {table} t where t.{column} = k.key::{type})

-- name: plan_freely
-- Room for a plan that looks up a large page at once.
set local work_mem = '64MB';
set local statement_timeout = '300s'

-- name: missing_packed
-- Those keys of a packed page that have no row.
select k.key::text as key
from ({unpacked}) as k
where not exists (select from {table} t where t.{column} = k.key)
