-- name: add_entry
-- Put an entry at the end of the chain; a trigger fills in its position and its hashes.
insert into public.audit_logs (id, position, store_id, actor_id, action, details, previous_hash,
  hash)
values ($1, 0, $2, $3, $4, $5::jsonb, '', '')

-- name: list_entries
-- The entries of one store, or of all, the newest first.
select id, position, store_id, actor_id, action, details::text as details, created_at
from public.audit_logs
where ($1::uuid is null or store_id = $1)
  and position < $2
order by position desc
limit $3

-- name: find_last_of
-- Which of some actions was done to a store last.
select action
from public.audit_logs
where store_id = $1
  and action = any ($2::text[])
order by position desc
limit 1

-- name: broken_entries
-- Entries that were changed, or whose predecessor is not the one it was.
select format('audit_logs.%s', position) as subject,
  'it was changed, or what stood before it' as detail, position
from (
  select a.position, a.hash, a.previous_hash,
    lag(a.hash, 1, pg_catalog.sha256('store_platform')) over (order by a.position) as expected,
    lag(a.position, 1, 0::bigint) over (order by a.position) as before,
    private.hash_audit_log(a) as computed
  from public.audit_logs a
) chain
where hash <> computed
  or previous_hash <> expected
  or before <> position - 1
order by position
limit $1
