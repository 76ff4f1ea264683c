-- name: begin_flow
-- A sign-in is under way; none for a user who does not exist.
insert into auth.flow_state
  (id, user_id, auth_code, code_challenge_method, code_challenge, provider_type,
    authentication_method)
select $1::uuid, u.id, $3::text, $4::text, $5::text, $6::text, $7::text
from auth.users u
where u.id = $2
returning id

-- name: issue_auth_code
-- The code with which the client will end a sign-in; from now on it counts.
update auth.flow_state
set auth_code_issued_at = now(), updated_at = now()
where id = $1
returning auth_code

-- name: lock_user_of_flow
-- Let changes of the user whom a code signs in wait for one another, before the sign-in is touched.
select u.id
from auth.users u
where u.id in (
    select f.user_id
    from auth.flow_state f
    where f.auth_code = $1
  )
for no key update

-- name: lock_flow
-- The sign-in that a code ends; whoever comes with the same code waits here and finds nothing.
select id, user_id, code_challenge, code_challenge_method, authentication_method, provider_type,
  auth_code_issued_at < now() - make_interval(secs => $2) as expired
from auth.flow_state
where auth_code = $1
  and auth_code_issued_at is not null
  and user_id is not null
for update

-- name: end_flow
-- A sign-in is complete.
delete from auth.flow_state
where id = $1

-- name: end_flows
-- The sign-ins of a user that are under way lead nowhere any more.
delete from auth.flow_state
where user_id = $1

-- name: prune_flows
-- Forget the sign-ins that nobody completed.
delete from auth.flow_state
where created_at < now() - interval '1 day'
