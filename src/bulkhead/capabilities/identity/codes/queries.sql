-- name: put_code
-- The latest code of its kind is the only one that counts; none for a user who does not exist.
insert into auth.one_time_tokens
  (id, user_id, token_type, token_hash, code_hash, relates_to, flow_state_id)
select $1::uuid, u.id, $3::text, $4::text, $5::text, $6::text, $7::uuid
from auth.users u
where u.id = $2
on conflict (user_id, token_type) do update
set id = excluded.id, token_hash = excluded.token_hash, code_hash = excluded.code_hash,
  relates_to = excluded.relates_to, flow_state_id = excluded.flow_state_id,
  failed_attempts = 0, created_at = now(), updated_at = now()

-- name: lock_user_of_link
-- Let changes of the user whom a link was sent to wait for one another, before its code is touched.
select u.id
from auth.users u
where u.id in (
    select t.user_id
    from auth.one_time_tokens t
    where t.token_hash = $1
  )
for no key update

-- name: redeem_link
-- Use up the code of a link, if it still counts.
delete from auth.one_time_tokens
where token_hash = $1
  and token_type = any ($2)
  and created_at > now() - make_interval(secs => $3)
returning user_id, token_type, relates_to, flow_state_id

-- name: lock_users_of_codes
-- As `lock_user_of_link`, of the users to whom codes were sent at an address.
select u.id
from auth.users u
where u.id in (
    select t.user_id
    from auth.one_time_tokens t
    where t.relates_to = $1
      and t.token_type = any ($2)
  )
order by u.id
for no key update

-- name: try_code
-- Count an attempt at the codes of these users sent to an address, and say which one it opens.
update auth.one_time_tokens
set failed_attempts = failed_attempts + 1, updated_at = now()
where relates_to = $1
  and token_type = any ($2)
  and created_at > now() - make_interval(secs => $3)
  and failed_attempts < $4
  and user_id = any ($6::uuid[])
returning id, user_id, token_type, relates_to, flow_state_id, code_hash = $5 as opened

-- name: delete_code
-- Use up a code; false when somebody else has.
delete from auth.one_time_tokens
where id = $1
returning true

-- name: delete_codes
-- Take back what was sent to a user.
delete from auth.one_time_tokens
where user_id = $1
  and token_type = any ($2)

-- name: prune_codes
-- Forget codes that have expired.
delete from auth.one_time_tokens
where created_at < now() - make_interval(secs => greatest($1::float8, $2::float8))
