-- name: count_unlisted
-- How many rows of a page refer to some keys and are not among the open violations.
select count(*)
from (
  select {column}::text as target_key, {row_key} as source_key
  from {table}
  where {held}
    and {column} = any($2::text[]::{type}[])
    and {within}
) o
where not exists (
  select from bulkhead.reference_violations v
  where v.reference = $1
    and v.target_key = o.target_key
    and v.source_key = o.source_key
    and v.resolved_at is null
)
