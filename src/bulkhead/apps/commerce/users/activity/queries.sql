-- name: log_activity
-- Log entries; one that was logged before, and one of a user who is gone, are passed over.
select private.log_activity($1::jsonb)

-- name: list_activity
-- What the asking user did, newest first.
select id, action, subject_kind, subject_id, details, occurred_at
from public.user_activity_logs
where user_id = (select auth.uid())
  and ($1::timestamptz is null or (occurred_at, id) < ($1, $2::uuid))
order by occurred_at desc, id desc
limit $3
