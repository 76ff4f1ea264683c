-- name: list_known
-- Which of some people have an account.
select id, email
from auth.users
where email = any ($1::text[])

-- name: find_store
-- How far a store of the sample is, also one that was deleted.
select database_status, order_count, deleted_at
from public.stores
where id = $1
