-- name: mark_announced
-- Take the next tombstones that nobody has been told of; others do not wait for them.
update bulkhead.tombstones t
set announced_at = now()
from (
  select table_name, key
  from bulkhead.tombstones
  where announced_at is null
    and table_name = any($1::text[])
  order by deleted_at
  limit $2
  for update skip locked
) due
where t.table_name = due.table_name
  and t.key = due.key
returning t.table_name, t.key
