-- name: add_server
-- Make a server known, or change what is known of it.
insert into bulkhead.fleet_servers
  (name, kind, address, capacity, connections_max, labels, sealed_endpoint)
values ($1, $2, $3, $4, $5, $6, $7)
on conflict (name) do update
set address = excluded.address,
  capacity = excluded.capacity,
  connections_max = excluded.connections_max,
  labels = excluded.labels,
  sealed_endpoint = excluded.sealed_endpoint,
  generation = fleet_servers.generation + 1,
  updated_at = now()
where fleet_servers.kind = excluded.kind
returning name, kind, address, capacity, connections_max, labels, tenants, draining_at, generation,
  sealed_endpoint

-- name: find_server
-- One server.
select name, kind, address, capacity, connections_max, labels, tenants, draining_at, generation,
  sealed_endpoint
from bulkhead.fleet_servers
where name = $1

-- name: list_servers
-- Every server.
select name, kind, address, capacity, connections_max, labels, tenants, draining_at, generation,
  sealed_endpoint
from bulkhead.fleet_servers
order by name

-- name: lock_servers
-- The servers of a kind, locked in one order, so that placements and moves queue up.
select name
from bulkhead.fleet_servers
where kind = $1
order by name
for no key update

-- name: choose_server
-- Of the servers that fit and have room, the one with the smallest share of it taken.
select name, kind, address, capacity, connections_max, labels, tenants, draining_at, generation,
  sealed_endpoint
from bulkhead.fleet_servers
where kind = $1
  and labels @> $2
  and draining_at is null
  and tenants < capacity
  and ($3::text is null or name <> $3)
order by tenants::numeric / capacity, capacity - tenants desc, name
limit 1

-- name: drain_server
-- Let a server take no new tenants, or take some again.
update bulkhead.fleet_servers
set draining_at = case when $2 then coalesce(draining_at, now()) end,
  generation = generation + 1,
  updated_at = now()
where name = $1
returning name, kind, address, capacity, connections_max, labels, tenants, draining_at, generation,
  sealed_endpoint

-- name: remove_server
-- Forget a server that has no tenants.
delete from bulkhead.fleet_servers
where name = $1
  and tenants = 0
returning name

-- name: add_tenant
-- Make a tenant known; nothing when it is known already.
insert into bulkhead.fleet_tenants
  (id, fleet, kind, server, database, role_prefix, login_prefix, sealed_connection)
values ($1, $2, $3, $4, $5, $6, $7, $8)
on conflict (id) do nothing
returning id, fleet, kind, server, database, role_prefix, login_prefix, sealed_connection, state,
  reason, generation, schema_version, schema_fingerprint, created_at, updated_at

-- name: find_tenant
-- One tenant.
select id, fleet, kind, server, database, role_prefix, login_prefix, sealed_connection, state,
  reason, generation, schema_version, schema_fingerprint, created_at, updated_at
from bulkhead.fleet_tenants
where id = $1

-- name: lock_tenant
-- One tenant, locked until the transaction ends.
select id, fleet, kind, server, database, role_prefix, login_prefix, sealed_connection, state,
  reason, generation, schema_version, schema_fingerprint, created_at, updated_at
from bulkhead.fleet_tenants
where id = $1
for update

-- name: list_tenants
-- A page of the tenants of a fleet, or of all, that come after one of them.
select id, fleet, kind, server, database, role_prefix, login_prefix, sealed_connection, state,
  reason, generation, schema_version, schema_fingerprint, created_at, updated_at
from bulkhead.fleet_tenants
where id > $1
  and ($2::text is null or fleet = $2)
  and ($3::text is null or server = $3)
  and ($4::text is null or state = $4)
order by id
limit $5

-- name: find_generations
-- How far each of some tenants has come; those that are gone are missing.
select id, generation
from bulkhead.fleet_tenants
where id = any ($1::uuid[])

-- name: set_state
-- Let a tenant be in another state, if it is in one of those that are expected.
update bulkhead.fleet_tenants
set state = $2,
  reason = $3
where id = $1
  and state = any ($4::text[])
returning id, fleet, kind, server, database, role_prefix, login_prefix, sealed_connection, state,
  reason, generation, schema_version, schema_fingerprint, created_at, updated_at

-- name: set_place
-- Let a tenant be somewhere else, if nobody has changed it meanwhile.
update bulkhead.fleet_tenants
set kind = $3,
  server = $4,
  database = $5,
  role_prefix = $6,
  login_prefix = $7,
  sealed_connection = $8
where id = $1
  and generation = $2
returning id, fleet, kind, server, database, role_prefix, login_prefix, sealed_connection, state,
  reason, generation, schema_version, schema_fingerprint, created_at, updated_at

-- name: set_schema
-- Note which schema a tenant has now.
update bulkhead.fleet_tenants
set schema_version = $2,
  schema_fingerprint = $3
where id = $1
returning id, fleet, kind, server, database, role_prefix, login_prefix, sealed_connection, state,
  reason, generation, schema_version, schema_fingerprint, created_at, updated_at

-- name: remove_tenant
-- Forget a tenant.
delete from bulkhead.fleet_tenants
where id = $1
returning id
