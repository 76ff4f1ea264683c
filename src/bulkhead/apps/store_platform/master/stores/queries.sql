-- name: add_store
-- A new store of an owner.
insert into public.stores (id, name, slug, owner_id, currency)
values ($1, $2, $3, $4, $5)

-- name: lock_owner
-- An owner, locked against others that make stores for the same one.
select id
from public.users
where id = $1
for no key update

-- name: count_owned
-- How many stores an owner has; one that is being deleted counts until its database is dropped.
select count(*)
from public.stores
where owner_id = $1
  and deleted_at is null

-- name: list_limits
-- What is set for one owner, then what is set for all.
select value
from public.platform_settings
where name in ($1, $1 || '.' || replace($2::uuid::text, '-', ''))
order by name desc

-- name: find_store
-- One store that the asking role may see.
select id, name, slug, owner_id, currency, database_type, database_host, database_name,
  database_status, storage_type, storage_status, subscription_plan, subscription_status,
  trial_ends_at, subscription_started_at, product_count, order_count, storage_used_bytes,
  api_calls_month, is_active, is_published, last_activity_at, created_at, updated_at
from public.stores
where id = $1
  and deleted_at is null

-- name: find_store_by_slug
-- One store by what stands in its address.
select id, owner_id
from public.stores
where slug = $1
  and deleted_at is null

-- name: list_stores
-- A page of the stores that the asking role may see, the newest first.
select id, name, slug, owner_id, currency, database_type, database_host, database_name,
  database_status, storage_type, storage_status, subscription_plan, subscription_status,
  trial_ends_at, subscription_started_at, product_count, order_count, storage_used_bytes,
  api_calls_month, is_active, is_published, last_activity_at, created_at, updated_at
from public.stores
where deleted_at is null
  and ($1::timestamptz is null or (created_at, id) < ($1, $2::uuid))
order by created_at desc, id desc
limit $3

-- name: change_store
-- Change what is said of a store; null leaves it as it is. One that is being deleted stays off, by
-- which it is known to be gone with its database.
update public.stores
set name = coalesce($2, name),
  slug = coalesce($3, slug),
  is_active = coalesce($4, is_active),
  is_published = coalesce($5, is_published)
where id = $1
  and deleted_at is null
  and (database_status <> 'deleting' or not (coalesce($4, false) or coalesce($5, false)))
returning id

-- name: begin_provisioning
-- Say that the database of a store is being made; not of one that is gone by now.
update public.stores
set database_status = 'provisioning',
  database_type = $2,
  database_host = $3,
  database_name = $4
where id = $1
  and deleted_at is null
  and database_status in ('none', 'failed', 'deleted')
returning id

-- name: delete_store
-- A store whose database is gone is there no more; its slug is free again.
update public.stores
set deleted_at = now(),
  is_active = false,
  is_published = false,
  subscription_status = 'cancelled',
  slug = left(slug, 30) || '-' || replace(id::text, '-', '')
where id = $1
  and deleted_at is null
  and database_status in ('none', 'failed', 'deleted')
returning id

-- name: switch_off
-- A store that is being deleted is not served; one of which that was taken back is.
update public.stores
set is_active = false,
  is_published = false
where id = $1
  and deleted_at is null
  and database_status in ('deleting', 'deleted')
returning id

-- name: switch_on
-- A store whose deletion was taken back is served, unless it is being deleted again.
update public.stores
set is_active = true
where id = $1
  and deleted_at is null
  and database_status <> 'deleting'
returning id

-- name: list_gone
-- Stores that were to be deleted, whose database is gone by now; each goes to one worker.
select id
from public.stores
where database_status = 'deleted'
  and not is_active
  and deleted_at is null
order by id
limit $1
for no key update skip locked

-- name: find_slugs
-- What stands in the addresses of some stores.
select id, slug
from public.stores
where id = any ($1::uuid[])
