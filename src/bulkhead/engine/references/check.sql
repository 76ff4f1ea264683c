-- name: find_live_keys
-- Those of the keys that are there, were not buried and are not about to be deleted.
select t.{column} as key
from {table} t
where t.{column} = any($1)
  and not exists (
    select from bulkhead.tombstones d where d.table_name = $2 and d.key = t.{column}::text
  )
  and not exists (
    select from bulkhead.deletion_fences f where f.table_name = $2 and f.key = t.{column}::text
  )
