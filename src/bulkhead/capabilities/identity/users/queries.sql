-- name: get_users
-- Some users with the ways they sign in, without secrets.
select u.id, u.role, u.email, u.phone, u.email_confirmed_at, u.phone_confirmed_at,
  u.confirmation_sent_at, u.recovery_sent_at, u.email_change, u.email_change_sent_at,
  u.email_change_confirm_status, u.phone_change, u.phone_change_sent_at,
  u.reauthentication_sent_at, u.invited_at, u.last_sign_in_at, u.banned_until,
  coalesce(u.banned_until > now(), false) as is_banned, u.deleted_at, u.is_anonymous,
  u.raw_app_meta_data::text, u.raw_user_meta_data::text, u.created_at, u.updated_at,
  (
    select json_agg(json_build_object(
      'identity_id', i.id,
      'provider_id', i.provider_id,
      'user_id', i.user_id,
      'identity_data', i.identity_data,
      'provider', i.provider,
      'last_sign_in_at', i.last_sign_in_at,
      'created_at', i.created_at,
      'updated_at', i.updated_at,
      'email', i.email
    ) order by i.created_at, i.id)
    from auth.identities i
    where i.user_id = u.id
  )::text as identities,
  (
    select json_agg(json_build_object(
      'id', f.id,
      'factor_type', f.factor_type,
      'status', f.status,
      'friendly_name', f.friendly_name,
      'phone', f.phone,
      'created_at', f.created_at,
      'updated_at', f.updated_at,
      'last_challenged_at', f.last_challenged_at
    ) order by f.created_at, f.id)
    from auth.mfa_factors f
    where f.user_id = u.id
  )::text as factors
from auth.users u
where u.id = any ($1::uuid[])

-- name: find_user_id
-- Whom an e-mail address in lower case belongs to.
select id
from auth.users
where lower(email) = $1
  and not is_sso_user

-- name: find_user_id_by_phone
-- Whom a telephone number belongs to.
select id
from auth.users
where phone = $1
  and not is_sso_user

-- name: find_credentials_by_phone
-- What a password is compared with.
select id, encrypted_password
from auth.users
where phone = $1
  and not is_sso_user
  and deleted_at is null

-- name: find_credentials
-- What a password is compared with.
select id, encrypted_password
from auth.users
where lower(email) = $1
  and not is_sso_user
  and deleted_at is null

-- name: get_password_hash
-- The hash of one user's password.
select encrypted_password
from auth.users
where id = $1

-- name: lock_credentials
-- Keep the password from changing until the transaction ends, if it still is the one compared with.
select id
from auth.users
where id = $1
  and encrypted_password = $2
for no key update

-- name: lock_user
-- Let changes of one user wait for one another.
select id
from auth.users
where id = $1
for no key update

-- name: insert_user
-- A new user, unless the e-mail address or the telephone number is taken.
insert into auth.users
  (id, aud, role, email, phone, encrypted_password, email_confirmed_at, phone_confirmed_at,
    is_anonymous, raw_app_meta_data, raw_user_meta_data)
values
  ($1, 'authenticated', 'authenticated', $2, $3, $4, case when $5 then now() end,
    case when $6 then now() end, $7, $8::jsonb, $9::jsonb)
on conflict do nothing
returning id

-- name: put_identity
-- The user can sign in this way, about which $5 is known.
insert into auth.identities (id, provider_id, user_id, provider, identity_data)
values ($1, $2::uuid::text, $2::uuid, $3, $4::jsonb || jsonb_build_object('sub', $2::uuid::text))
on conflict (provider_id, provider) do update
set identity_data = identities.identity_data || excluded.identity_data, updated_at = now()

-- name: refresh_providers
-- What `app_metadata` says about how the user signs in follows from the identities.
update auth.users u
set raw_app_meta_data = (coalesce(u.raw_app_meta_data, '{}') - 'provider') || p.said,
  updated_at = now()
from (
  select jsonb_strip_nulls(jsonb_build_object(
    'provider', (array_agg(i.provider order by i.created_at, i.id))[1],
    'providers', coalesce(jsonb_agg(i.provider order by i.created_at, i.id), '[]')
  )) as said
  from auth.identities i
  where i.user_id = $1
) p
where u.id = $1
  and (
    u.raw_app_meta_data -> 'provider' is distinct from p.said -> 'provider'
    or u.raw_app_meta_data -> 'providers' is distinct from p.said -> 'providers'
  )

-- name: delete_identity
-- The user signs in that way no more.
delete from auth.identities
where id = $1
  and user_id = $2

-- name: forget_phone
-- The user has no telephone number any more, nor one that was to be confirmed.
update auth.users
set phone = null, phone_confirmed_at = null, phone_change = '', phone_change_sent_at = null,
  updated_at = now()
where id = $1

-- name: take_email_of_identities
-- The user has an address that an identity has shown to be theirs, and none without; whatever was
-- under way with the former one is over. Null where an identity knows the present one.
update auth.users u
set email = i.email, email_confirmed_at = case when i.email is not null then now() end,
  email_change = '', email_change_sent_at = null, email_change_confirm_status = 0,
  phone_change = '', phone_change_sent_at = null, confirmation_sent_at = null,
  recovery_sent_at = null, reauthentication_sent_at = null, updated_at = now()
from (
  select (array_agg(email order by created_at, id))[1] as email
  from auth.identities
  where user_id = $1
    and email <> ''
    and identity_data ->> 'email_verified' = 'true'
) i
where u.id = $1
  and not exists (
    select
    from auth.identities own
    where own.user_id = u.id
      and own.email = lower(u.email)
  )
returning u.id

-- name: replace_pending_user
-- The latest sign-up with an address that nobody has confirmed counts, so that whoever signed up
-- with it first does not know the password of the one who confirms it.
update auth.users
set encrypted_password = $2, raw_user_meta_data = $3::jsonb, updated_at = now()
where id = $1
  and confirmed_at is null

-- name: confirm_user
-- The user receives mail at the address; null when that was known before.
with confirmed as (
  update auth.users
  set email_confirmed_at = now(), is_anonymous = false,
    raw_user_meta_data = coalesce(raw_user_meta_data, '{}') || '{"email_verified": true}',
    updated_at = now()
  where id = $1
    and email_confirmed_at is null
  returning id
),
verified as (
  update auth.identities i
  set identity_data = i.identity_data || '{"email_verified": true}', updated_at = now()
  from confirmed c
  where i.user_id = c.id
    and i.provider = 'email'
)
select id
from confirmed

-- name: confirm_phone
-- The user receives messages at the number; null when that was known before.
with confirmed as (
  update auth.users
  set phone_confirmed_at = now(), is_anonymous = false, updated_at = now()
  where id = $1
    and phone_confirmed_at is null
  returning id
),
verified as (
  update auth.identities i
  set identity_data = i.identity_data || '{"phone_verified": true}', updated_at = now()
  from confirmed c
  where i.user_id = c.id
    and i.provider = 'phone'
)
select id
from confirmed

-- name: note_confirmation_sent
-- A confirmation mail is on its way.
update auth.users
set confirmation_sent_at = now(), updated_at = now()
where id = $1

-- name: note_recovery_sent
-- A recovery mail is on its way.
update auth.users
set recovery_sent_at = now(), updated_at = now()
where id = $1

-- name: begin_email_change
-- The user wants another address; nothing has been confirmed yet.
update auth.users
set email_change = $2, email_change_sent_at = now(), email_change_confirm_status = 0,
  updated_at = now()
where id = $1

-- name: confirm_email_change_once
-- One of two addresses has agreed to the change.
update auth.users
set email_change_confirm_status = 1, updated_at = now()
where id = $1

-- name: finish_email_change
-- The user has the new address, confirmed.
update auth.users
set email = email_change, email_change = '', email_change_confirm_status = 0,
  email_confirmed_at = coalesce(email_confirmed_at, now()), is_anonymous = false,
  raw_user_meta_data = coalesce(raw_user_meta_data, '{}') || '{"email_verified": true}',
  updated_at = now()
where id = $1
  and email_change <> ''
returning email

-- name: begin_phone_change
-- The user wants another number; nothing has been confirmed yet.
update auth.users
set phone_change = $2, phone_change_sent_at = now(), updated_at = now()
where id = $1

-- name: finish_phone_change
-- The user has the new number, confirmed.
update auth.users
set phone = phone_change, phone_change = '', phone_confirmed_at = now(), is_anonymous = false,
  updated_at = now()
where id = $1
  and phone_change <> ''
returning phone

-- name: note_reauthentication_sent
-- A code with which the password can be changed is on its way.
update auth.users
set reauthentication_sent_at = now(), updated_at = now()
where id = $1

-- name: set_password
-- A new hash of the user's password.
update auth.users
set encrypted_password = $2, updated_at = now()
where id = $1

-- name: merge_user_metadata
-- Set some keys of what the user may write; null takes a key away.
update auth.users
set raw_user_meta_data = (coalesce(raw_user_meta_data, '{}') || $2::jsonb) - array(
    select d.key
    from jsonb_each($2::jsonb) d
    where d.value = 'null'
  ),
  updated_at = now()
where id = $1
returning octet_length(raw_user_meta_data::text)

-- name: merge_app_metadata
-- Set some keys of what only the application may write; null takes a key away.
update auth.users
set raw_app_meta_data = (coalesce(raw_app_meta_data, '{}') || $2::jsonb) - array(
    select d.key
    from jsonb_each($2::jsonb) d
    where d.value = 'null'
  ),
  updated_at = now()
where id = $1

-- name: write_audit_entries
-- Lines of the audit log.
insert into auth.audit_log_entries (id, payload, ip_address)
select e.id, e.payload::json, $3::text
from unnest($1::uuid[], $2::text[]) as e (id, payload)

-- name: prune_audit_log
-- Forget the oldest lines.
delete from auth.audit_log_entries
where created_at < now() - make_interval(days => $1)
