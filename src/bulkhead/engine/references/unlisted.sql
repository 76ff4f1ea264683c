-- name: count_unlisted
-- How many rows of a page refer to some keys and are not among the open violations.
select count(*)
from {table}
where {held}
  and {column} = any($2::text[]::{type}[])
  and {within}
  and not exists (
    select from bulkhead.reference_violations v
    where v.reference = $1
      and v.target_key = {column}::text
      and v.source_key = {row_key}
      and v.resolved_at is null
  )
