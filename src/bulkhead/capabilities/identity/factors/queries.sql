-- name: delete_stale_factors
-- Forget factors that were added and never verified, apart from those that are being.
delete from auth.mfa_factors f
where f.status = 'unverified'
  and f.created_at < now() - make_interval(secs => $1)
  and ($2::uuid is null or f.user_id = $2)
  and not exists (
    select
    from auth.mfa_challenges c
    where c.factor_id = f.id
      and c.created_at > now() - make_interval(secs => $1)
  )

-- name: list_factors
-- The factors of a user, the oldest first.
select id::text, factor_type, status, friendly_name, phone, to_json(created_at) #>> '{}' as created_at,
  to_json(updated_at) #>> '{}' as updated_at,
  to_json(last_challenged_at) #>> '{}' as last_challenged_at
from auth.mfa_factors
where user_id = $1
order by created_at, id

-- name: find_factor
-- A factor of a user, with what its codes are compared with.
select id::text, factor_type, status, friendly_name, phone, to_json(created_at) #>> '{}' as created_at,
  to_json(updated_at) #>> '{}' as updated_at,
  to_json(last_challenged_at) #>> '{}' as last_challenged_at, secret, last_used_step
from auth.mfa_factors
where user_id = $1
  and id = $2

-- name: insert_factor
-- A factor that the user has yet to verify.
insert into auth.mfa_factors (id, user_id, friendly_name, factor_type, status, secret)
values ($1, $2, $3, 'totp', 'unverified', $4)

-- name: insert_challenge
-- Ask for a code of a factor; says until when it can be given.
with challenge as (
  insert into auth.mfa_challenges (id, factor_id, created_at, ip_address)
  values ($1::uuid, $2::uuid, clock_timestamp(), $3::text::inet)
  returning factor_id, created_at
)
update auth.mfa_factors f
set last_challenged_at = c.created_at
from challenge c
where f.id = c.factor_id
returning c.created_at + make_interval(secs => $4) as expires_at

-- name: find_challenge
-- A challenge of a factor, and whether it still can be answered from where $3 is.
select verified_at is not null or ip_address <> $3::text::inet as used,
  created_at < clock_timestamp() - make_interval(secs => $4) or failed_attempts >= $5 as expired
from auth.mfa_challenges
where id = $1
  and factor_id = $2

-- name: count_failure
-- A wrong code was tried.
update auth.mfa_challenges
set failed_attempts = failed_attempts + 1
where id = $1

-- name: delete_challenge
-- Nobody can answer it any more.
delete from auth.mfa_challenges
where id = $1

-- name: accept_code
-- The user has the factor; what the user began to add beside it is forgotten.
with answered as (
  update auth.mfa_challenges
  set verified_at = clock_timestamp()
  where id = $2
),
others as (
  delete from auth.mfa_factors o
  using auth.mfa_factors f
  where f.id = $1
    and o.user_id = f.user_id
    and o.factor_type = f.factor_type
    and o.id <> f.id
    and o.status = 'unverified'
)
update auth.mfa_factors
set status = 'verified', last_used_step = $3, updated_at = now()
where id = $1

-- name: lock_session
-- Wait for whoever refreshes a session, and let others wait.
select id
from auth.sessions
where id = $1
for no key update

-- name: raise_session
-- A factor was verified in a session that is locked. Refresh tokens from before count no more, so
-- that whoever holds one does not come by the second factor; nor do sessions of the user without.
with method as (
  insert into auth.mfa_amr_claims (session_id, authentication_method)
  values ($1::uuid, $4::text)
  on conflict (session_id, authentication_method) do update
  set updated_at = now()
),
former as (
  delete from auth.refresh_tokens
  where session_id = $1
),
weaker as (
  delete from auth.sessions
  where user_id = $2
    and id <> $1
    and aal < 'aal2'
),
session as (
  update auth.sessions
  set aal = 'aal2', factor_id = $3::uuid, updated_at = now(), refreshed_at = now()
  where id = $1
  returning id, user_id
)
insert into auth.refresh_tokens (token, user_id, revoked, session_id)
select $5::text, user_id::text, false, id
from session

-- name: lower_sessions
-- A factor is gone: where it was verified, the user is signed in with a password only.
with lowered as (
  update auth.sessions
  set aal = 'aal1', factor_id = null, updated_at = now()
  where user_id = $1
    and factor_id = $2
  returning id
)
delete from auth.mfa_amr_claims m
using lowered l
where m.session_id = l.id
  and m.authentication_method = $3

-- name: delete_factor
-- Take a factor away; false when it is gone already.
delete from auth.mfa_factors
where user_id = $1
  and id = $2
returning true

-- name: rename_factor
-- Call a factor something else.
update auth.mfa_factors
set friendly_name = $3, updated_at = now()
where user_id = $1
  and id = $2

-- name: find_level
-- How sure we are of who uses a session, and whether a factor could tell more.
select s.aal,
  exists (
    select
    from auth.mfa_factors f
    where f.user_id = s.user_id
      and f.status = 'verified'
  ) as has_factor
from auth.sessions s
where s.id = $1
  and s.user_id = $2

-- name: prune_challenges
-- Forget challenges that nobody can answer any more.
delete from auth.mfa_challenges
where created_at < now() - interval '1 day'
