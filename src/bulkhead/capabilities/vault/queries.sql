-- name: list_masters
-- Every master key that the database knows, with the number of keys that it still seals.
select id, check_value, state, created_at, retired_at,
  (select count(*) from bulkhead.vault_keys k
   where k.master = m.id and k.state <> 'destroyed') as keys
from bulkhead.vault_masters m
order by created_at, id

-- name: add_first_master
-- Remember the master key of a database that has none yet.
insert into bulkhead.vault_masters (id, check_value, state)
select $1, $2, 'current'
where not exists (select 1 from bulkhead.vault_masters)
on conflict do nothing

-- name: lock_current_master
-- The master key that seals new keys, locked until the end of the transaction.
select id, check_value
from bulkhead.vault_masters
where state = 'current'
for update

-- name: share_current_master
-- The master key that seals new keys; a rotation waits for the end of the transaction.
select id, check_value
from bulkhead.vault_masters
where state = 'current'
for share

-- name: demote_master
-- Let the current master key seal nothing more.
update bulkhead.vault_masters set state = 'previous' where state = 'current'

-- name: add_master
-- Remember a new master key as the current one.
insert into bulkhead.vault_masters (id, check_value, state)
values ($1, $2, 'current')
on conflict (id) do update set state = 'current', retired_at = null

-- name: retire_masters
-- Note which former master keys seal nothing any more.
update bulkhead.vault_masters m
set state = 'retired', retired_at = now()
where m.state = 'previous'
  and not exists (
    select 1 from bulkhead.vault_keys k where k.master = m.id and k.state <> 'destroyed'
  )
returning m.id

-- name: lock_keys_of_other_masters
-- Some keys that another master key than $1 seals, locked.
select id, tenant, master, wrapped, commitment
from bulkhead.vault_keys
where master <> $1 and state <> 'destroyed'
order by id
limit $2
for update

-- name: rewrap_keys
-- Put keys under another master key.
update bulkhead.vault_keys k
set master = $1, wrapped = n.wrapped
from unnest($2::integer[], $3::bytea[]) as n (id, wrapped)
where k.id = n.id and k.state <> 'destroyed'

-- name: find_key
-- One key.
select id, tenant, master, wrapped, commitment, state
from bulkhead.vault_keys
where id = $1

-- name: take_seals
-- The key that seals for a tenant, with a block of seals taken in advance.
update bulkhead.vault_keys
set seals = seals + $2
where tenant = $1 and state = 'current'
returning id, tenant, master, wrapped, commitment, state, seals

-- name: next_key_id
-- A number for a new key; the key is sealed for it before it is stored.
select nextval('bulkhead.vault_key_ids')

-- name: add_key
-- Store the first key of a tenant; nothing when it has got one meanwhile.
insert into bulkhead.vault_keys (id, tenant, master, wrapped, commitment, state)
values ($1, $2, $3, $4, $5, 'current')
on conflict (tenant) where state = 'current' do nothing
returning id

-- name: demote_key
-- Let the current key of a tenant seal nothing more.
update bulkhead.vault_keys
set state = 'previous', rotated_at = now()
where tenant = $1 and state = 'current'
returning id

-- name: list_emptying
-- Former keys that may still seal something, once no process seals with them any more.
select id, tenant
from bulkhead.vault_keys
where state = 'previous'
  and emptied_at is null
  and rotated_at <= now() - make_interval(secs => $1)
order by id
limit $2

-- name: note_emptied
-- Note which former keys seal nothing any more.
update bulkhead.vault_keys
set emptied_at = now()
where id = any($1::integer[]) and state = 'previous'

-- name: destroy_keys
-- Destroy the keys of a tenant.
update bulkhead.vault_keys
set state = 'destroyed', wrapped = null, destroyed_at = now()
where tenant = $1 and state <> 'destroyed'
returning id

-- name: list_keys
-- Keys, newest first, of one tenant or of all.
select id, tenant, encode(master, 'hex') as master, state, seals, created_at, rotated_at,
  destroyed_at
from bulkhead.vault_keys
where $1::text is null or tenant = $1
order by id desc
limit $2

-- name: list_current_keys
-- Which key seals for each of some tenants.
select tenant, id
from bulkhead.vault_keys
where tenant = any($1) and state = 'current'

-- name: count_keys
-- How many keys there are in each state.
select state, count(*) as keys
from bulkhead.vault_keys
group by state

-- name: page_keys
-- The next keys that are not destroyed, by their number.
select id, tenant, master, wrapped, commitment
from bulkhead.vault_keys
where id > $1 and state <> 'destroyed'
order by id
limit $2
