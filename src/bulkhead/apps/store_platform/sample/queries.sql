-- name: list_known
-- Which of some people have an account.
select id, email
from auth.users
where email = any ($1::text[])
