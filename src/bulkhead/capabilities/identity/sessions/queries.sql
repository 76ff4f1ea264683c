-- name: open_session
-- A session with its first refresh token, how the user proved who they are, and when.
with session as (
  insert into auth.sessions (id, user_id, aal, user_agent, ip)
  values ($1, $2::uuid, 'aal1', $3, $4::text::inet)
  returning id, user_id
),
method as (
  insert into auth.mfa_amr_claims (session_id, authentication_method)
  select id, $5::text
  from session
),
token as (
  insert into auth.refresh_tokens (token, user_id, revoked, session_id)
  select $6::text, user_id::text, false, id
  from session
),
person as (
  update auth.users u
  set last_sign_in_at = now(), updated_at = now()
  from session s
  where u.id = s.user_id
)
update auth.identities i
set last_sign_in_at = now(), updated_at = now()
from session s
where i.user_id = s.user_id
  and i.provider in ('email', 'phone')

-- name: lock_session_of_token
-- The session that a refresh token belongs to; whoever refreshes it at the same time waits here.
select s.id, s.user_id, s.aal,
  coalesce(s.not_after <= now(), false) as ended,
  extract(epoch from now() - s.created_at)::float8 as age_s,
  extract(epoch from now() - coalesce(s.refreshed_at, s.created_at))::float8 as idle_s
from auth.sessions s
where s.id = (
    select t.session_id
    from auth.refresh_tokens t
    where t.token = $1
  )
for no key update

-- name: find_newer_session
-- A session that the user of another began later and that goes on, if there is one.
select n.id
from auth.sessions s
join auth.sessions n on n.user_id = s.user_id
  and (n.created_at, n.id) > (s.created_at, s.id)
where s.id = $1
  and (n.not_after is null or n.not_after > now())
  and ($2::float8 is null or n.created_at > now() - make_interval(secs => $2))
  and ($3::float8 is null
    or coalesce(n.refreshed_at, n.created_at) > now() - make_interval(secs => $3))
limit 1

-- name: get_refresh_token
-- A refresh token beside the one of its session that is active; read after the session is locked.
select t.revoked,
  extract(epoch from clock_timestamp() - t.updated_at)::float8 as revoked_for_s,
  active.token as active_token,
  active.parent as active_parent
from auth.refresh_tokens t
left join lateral (
  select a.token, a.parent
  from auth.refresh_tokens a
  where a.session_id = t.session_id
    and not a.revoked
  order by a.id desc
  limit 1
) active on true
where t.token = $1

-- name: swap_refresh_token
-- Exchange a refresh token for the next one of its family.
with former as (
  update auth.refresh_tokens
  set revoked = true, updated_at = case when revoked then updated_at else clock_timestamp() end
  where token = $1
  returning user_id, session_id, token
),
session as (
  update auth.sessions s
  set refreshed_at = now(), updated_at = now(), user_agent = coalesce($3, s.user_agent),
    ip = coalesce($4::text::inet, s.ip)
  from former f
  where s.id = f.session_id
)
insert into auth.refresh_tokens (token, user_id, revoked, parent, session_id)
select $2::text, user_id, false, token, session_id
from former

-- name: list_methods
-- How the user of a session proved who they are, the latest first.
select authentication_method, extract(epoch from updated_at)::bigint as proved_at
from auth.mfa_amr_claims
where session_id = $1
order by updated_at desc

-- name: describe_session
-- How old a session is, and whether its user came in by a code.
select extract(epoch from now() - s.created_at)::float8 as age_s,
  exists (
    select
    from auth.mfa_amr_claims m
    where m.session_id = s.id
      and m.authentication_method in ('otp', 'magiclink', 'recovery')
  ) as by_code
from auth.sessions s
where s.id = $1

-- name: find_session
-- Whether a session goes on.
select id
from auth.sessions
where id = $1
  and user_id = $2
  and (not_after is null or not_after > now())

-- name: revoke_family
-- A refresh token came back that had been exchanged: none of its family counts any more.
with ended as (
  update auth.sessions
  set not_after = now(), updated_at = now()
  where id = $1
  returning id
)
update auth.refresh_tokens t
set revoked = true, updated_at = clock_timestamp()
from ended e
where t.session_id = e.id
  and not t.revoked

-- name: end_session
-- Sign out in one place.
delete from auth.sessions
where id = $1
  and user_id = $2

-- name: end_other_sessions
-- Sign out everywhere but in one place.
delete from auth.sessions
where user_id = $2
  and id <> $1

-- name: end_sessions
-- Sign out everywhere.
delete from auth.sessions
where user_id = $1

-- name: prune_sessions
-- Forget sessions that nobody can refresh any more.
delete from auth.sessions
where not_after < now() - interval '1 day'
  or created_at < now() - make_interval(secs => $1)
  or coalesce(refreshed_at, created_at) < now() - make_interval(secs => $2)

-- name: prune_refresh_tokens
-- Forget exchanged tokens, apart from those whose reuse would still be noticed.
delete from auth.refresh_tokens
where revoked
  and updated_at < now() - interval '30 days'
