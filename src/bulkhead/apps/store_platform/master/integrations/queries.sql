-- name: put_integration
-- What a store is connected to, in place of what it was; the id is that of store and purpose.
insert into public.integration_configs
  (id, store_id, integration_type, config_data, connection_status, tested_at)
values ($1, $2, $3, $4::jsonb, $5, case $5 when 'untested' then null else now() end)
on conflict (id) do update
set integration_type = excluded.integration_type,
  config_data = excluded.config_data,
  connection_status = excluded.connection_status,
  tested_at = excluded.tested_at,
  last_error = null,
  is_active = true

-- name: put_secret
-- The sealed part of a connection.
insert into public.integration_secrets (integration_id, store_id, sealed_config)
values ($1, $2, $3)
on conflict (integration_id) do update
set sealed_config = excluded.sealed_config

-- name: find_secret
-- The sealed part of a connection.
select i.id, i.store_id, i.integration_type, i.config_data::text as config_data, i.updated_at,
  s.sealed_config
from public.integration_configs i
join public.integration_secrets s on s.integration_id = i.id
where i.store_id = $1
  and i.purpose = $2
  and i.is_active

-- name: list_integrations
-- What a store is connected to, as the asking role may see it.
select id, integration_type, purpose, is_active, config_data::text as config_data,
  connection_status, last_error, tested_at, created_at, updated_at
from public.integration_configs
where store_id = $1
order by purpose, created_at

-- name: list_storages
-- The storages of all stores, by the slugs of these.
select t.id as store_id, t.slug, i.integration_type, i.config_data::text as config_data,
  i.connection_status, i.last_error, i.tested_at, t.storage_used_bytes
from public.integration_configs i
join public.stores t on t.id = i.store_id
where i.purpose = 'storage'
  and i.is_active
order by t.slug
limit $1

-- name: note_tested
-- How the last try of a connection ended, if it is the same still.
update public.integration_configs
set connection_status = $3,
  last_error = left($4, 1000),
  tested_at = now()
where store_id = $1
  and purpose = $2
  and is_active
  and updated_at = $5
returning id

-- name: set_storage
-- Let a store say where its files are.
update public.stores
set storage_type = $2,
  storage_status = $3
where id = $1

-- name: delete_integration
-- A store is connected to something no more; its secret goes with it.
delete from public.integration_configs
where id = $1
returning id

-- name: note_storage
-- Let a store say how the last try of its storage ended.
update public.stores
set storage_status = $2
where id = $1
  and storage_type is not null
