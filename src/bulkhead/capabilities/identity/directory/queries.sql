-- name: page_users
-- A page of the users whose address or full name contains $1, the latest first.
select id
from auth.users
where $1 = ''
  or email like '%' || $1 || '%'
  or raw_user_meta_data ->> 'full_name' ilike '%' || $1 || '%'
order by created_at desc, id desc
limit $2
offset $3

-- name: page_users_ascending
-- A page of the users whose address or full name contains $1, the earliest first.
select id
from auth.users
where $1 = ''
  or email like '%' || $1 || '%'
  or raw_user_meta_data ->> 'full_name' ilike '%' || $1 || '%'
order by created_at, id
limit $2
offset $3

-- name: count_users
-- How many users there are whose address or full name contains $1.
select count(*)
from auth.users
where $1 = ''
  or email like '%' || $1 || '%'
  or raw_user_meta_data ->> 'full_name' ilike '%' || $1 || '%'

-- name: insert_user
-- A new user as the operator wants them; none if the id, the address or the number is taken.
insert into auth.users
  (id, aud, role, email, phone, encrypted_password, raw_app_meta_data, raw_user_meta_data)
values ($1, 'authenticated', $2, $3, $4, $5, $6::jsonb, $7::jsonb)
on conflict do nothing
returning id

-- name: find_takers
-- Who has an e-mail address, and who a telephone number.
select
  (
    select u.id
    from auth.users u
    where lower(u.email) = $1
      and not u.is_sso_user
  ) as email_of,
  (
    select u.id
    from auth.users u
    where u.phone = $2
  ) as phone_of

-- name: set_role
-- The operator calls a user something else.
update auth.users
set role = $2, updated_at = now()
where id = $1

-- name: set_email
-- A user has another address; whether it was confirmed does not change.
update auth.users
set email = $2, updated_at = now()
where id = $1

-- name: set_phone
-- A user has another number; whether it was confirmed does not change.
update auth.users
set phone = $2, updated_at = now()
where id = $1

-- name: end_anonymity
-- A user who had no address has a confirmed one.
update auth.users
set is_anonymous = false, updated_at = now()
where id = $1
  and is_anonymous

-- name: ban
-- A user cannot sign in for $2 seconds; null lets them.
update auth.users
set banned_until = clock_timestamp() + make_interval(secs => $2), updated_at = now()
where id = $1

-- name: set_password
-- A new hash of a user's password; whatever was under way with the former one is over.
with codes as (
  delete from auth.one_time_tokens
  where user_id = $1
),
flows as (
  delete from auth.flow_state
  where user_id = $1
),
sessions as (
  delete from auth.sessions
  where user_id = $1
)
update auth.users
set encrypted_password = $2, confirmation_sent_at = null, recovery_sent_at = null,
  email_change_sent_at = null, phone_change_sent_at = null, reauthentication_sent_at = null,
  updated_at = now()
where id = $1

-- name: note_invitation
-- A user was invited by mail.
update auth.users
set invited_at = now(), confirmation_sent_at = now(), updated_at = now()
where id = $1

-- name: delete_user
-- Delete a user and everything that refers to them.
delete from auth.users
where id = $1
returning true

-- name: read_addresses
-- What is left unreadable of a user who is deleted softly.
select coalesce(u.email, '') as email, coalesce(u.phone, '') as phone,
  coalesce(u.email_change, '') as email_change, coalesce(u.phone_change, '') as phone_change,
  array(
    select i.id
    from auth.identities i
    where i.user_id = u.id
    order by i.id
  ) as identity_ids,
  array(
    select i.provider || ':' || i.provider_id
    from auth.identities i
    where i.user_id = u.id
    order by i.id
  ) as identity_names
from auth.users u
where u.id = $1

-- name: bury_user
-- Keep the row of a user and nothing that says who it was.
with codes as (
  delete from auth.one_time_tokens
  where user_id = $1
),
sessions as (
  delete from auth.sessions
  where user_id = $1
),
factors as (
  delete from auth.mfa_factors
  where user_id = $1
),
identities as (
  update auth.identities i
  set identity_data = '{}', provider_id = n.name, updated_at = now()
  from unnest($6::uuid[], $7::text[]) as n (id, name)
  where i.id = n.id
)
update auth.users
set email = $2, phone = $3, email_change = $4, phone_change = $5, encrypted_password = null,
  raw_app_meta_data = '{}', raw_user_meta_data = '{}', deleted_at = now(), updated_at = now()
where id = $1

-- name: page_audit_log
-- A page of the audit log, the latest first, of entries in which a field of $1 contains $2.
select id, payload::text, created_at, ip_address
from auth.audit_log_entries
where cardinality($1::text[]) = 0
  or exists (
    select
    from unnest($1::text[]) as f (name)
    where payload ->> f.name ilike '%' || $2 || '%'
  )
order by created_at desc, id desc
limit $3
offset $4

-- name: count_audit_log
-- How many entries of the audit log there are in which a field of $1 contains $2.
select count(*)
from auth.audit_log_entries
where cardinality($1::text[]) = 0
  or exists (
    select
    from unnest($1::text[]) as f (name)
    where payload ->> f.name ilike '%' || $2 || '%'
  )
