-- name: add_store
-- A new store of an owner.
insert into public.stores (id, name, slug, owner_id, currency)
values ($1, $2, $3, $4, $5)

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
-- Change what is said of a store; null leaves it as it is.
update public.stores
set name = coalesce($2, name),
  slug = coalesce($3, slug),
  is_active = coalesce($4, is_active),
  is_published = coalesce($5, is_published)
where id = $1
  and deleted_at is null
returning id

-- name: begin_provisioning
-- Say that the database of a store is being made.
update public.stores
set database_status = 'provisioning',
  database_type = $2,
  database_host = $3,
  database_name = $4
where id = $1
  and database_status in ('none', 'failed', 'deleted')

-- name: delete_store
-- A store whose database is gone is there no more; its slug is free again.
update public.stores
set deleted_at = now(),
  is_active = false,
  is_published = false,
  slug = left(slug, 30) || '-' || replace(id::text, '-', '')
where id = $1
  and deleted_at is null
  and database_status in ('none', 'failed', 'deleted')
returning id

-- name: switch_off
-- A store that is being deleted is not served.
update public.stores
set is_active = $2,
  is_published = is_published and $2
where id = $1
  and deleted_at is null

-- name: list_gone
-- Stores that were to be deleted, whose database is gone by now.
select id
from public.stores
where database_status = 'deleted'
  and not is_active
  and deleted_at is null
limit $1
