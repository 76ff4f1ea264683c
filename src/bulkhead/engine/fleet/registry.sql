-- name: add_server
-- Make a server known, or change what is known of it.
insert into bulkhead.fleet_servers
  (name, kind, address, capacity, connections_max, labels, sealed_endpoint, reserved_for)
values ($1, $2, $3, $4, $5, $6, $7, $8)
on conflict (name) do update
set address = excluded.address,
  capacity = excluded.capacity,
  connections_max = excluded.connections_max,
  labels = excluded.labels,
  sealed_endpoint = excluded.sealed_endpoint,
  draining_at = case when excluded.reserved_for is null then fleet_servers.draining_at end,
  generation = fleet_servers.generation + 1,
  updated_at = now()
where fleet_servers.kind = excluded.kind
  and fleet_servers.reserved_for is not distinct from excluded.reserved_for
returning name, kind, address, capacity, connections_max, labels, tenants, draining_at, generation,
  sealed_endpoint, reserved_for

-- name: find_server
-- One server.
select name, kind, address, capacity, connections_max, labels, tenants, draining_at, generation,
  sealed_endpoint, reserved_for
from bulkhead.fleet_servers
where name = $1

-- name: list_servers
-- Every server.
select name, kind, address, capacity, connections_max, labels, tenants, draining_at, generation,
  sealed_endpoint, reserved_for
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
-- Of the servers that fit and have room: one that is the tenant's own, else the one with the smallest
-- share of it taken. Tenants that are on their way to a server have their room there.
select name, kind, address, capacity, connections_max, labels, tenants, draining_at, generation,
  sealed_endpoint, reserved_for
from bulkhead.fleet_servers s
cross join lateral (
  select s.tenants + count(*) as taken
  from bulkhead.fleet_moves v
  where v.target = s.name
    and v.finished_at is null
    and v.step in ('started', 'schema', 'copying', 'fenced')
) t
where kind = $1
  and labels @> $2
  and draining_at is null
  and t.taken < capacity
  and ($3::text is null or name <> $3)
  and (reserved_for is null or reserved_for = $4)
order by reserved_for is null, t.taken::numeric / capacity, capacity - t.taken desc, name
limit 1

-- name: drain_server
-- Let a server take no new tenants, or take some again.
update bulkhead.fleet_servers
set draining_at = case when $2 then coalesce(draining_at, now()) end,
  generation = generation + 1,
  updated_at = now()
where name = $1
returning name, kind, address, capacity, connections_max, labels, tenants, draining_at, generation,
  sealed_endpoint, reserved_for

-- name: lock_server
-- A server to which no move begins until the transaction ends.
select name
from bulkhead.fleet_servers
where name = $1
for update

-- name: count_moves
-- How many open moves begin or end at a server; each has a database there.
select count(*)
from bulkhead.fleet_moves
where finished_at is null
  and $1 in (source, target)

-- name: remove_server
-- Forget a server that has no tenants.
delete from bulkhead.fleet_servers
where name = $1
  and tenants = 0
returning name

-- name: drain_reserved
-- Place a tenant on none of the servers that are its own, but one.
update bulkhead.fleet_servers
set draining_at = coalesce(draining_at, now()),
  generation = generation + 1,
  updated_at = now()
where reserved_for = $1
  and name is distinct from $2

-- name: remove_reserved
-- Forget the servers that were a tenant's own, once nothing can be left of it there.
delete from bulkhead.fleet_servers s
where s.reserved_for = $1
  and s.tenants = 0
  and not exists (
    select
    from bulkhead.provisioning_jobs j
    where j.server = s.name
      and j.state <> 'active'
      and j.swept_at is null
  )

-- name: add_tenant
-- Make a tenant known; nothing when it is known already.
insert into bulkhead.fleet_tenants
  (id, fleet, kind, server, database, role_prefix, login_prefix, sealed_connection, located)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9)
on conflict (id) do nothing
returning id, fleet, kind, server, database, role_prefix, login_prefix, located,
  sealed_connection, state, reason, generation, schema_version, schema_fingerprint, created_at,
  updated_at

-- name: find_tenant
-- One tenant.
select id, fleet, kind, server, database, role_prefix, login_prefix, located,
  sealed_connection, state, reason, generation, schema_version, schema_fingerprint, created_at,
  updated_at
from bulkhead.fleet_tenants
where id = $1

-- name: lock_tenant
-- One tenant, locked until the transaction ends.
select id, fleet, kind, server, database, role_prefix, login_prefix, located,
  sealed_connection, state, reason, generation, schema_version, schema_fingerprint, created_at,
  updated_at
from bulkhead.fleet_tenants
where id = $1
for update

-- name: list_tenants
-- A page of the tenants of a fleet, or of all, that come after one of them.
select id, fleet, kind, server, database, role_prefix, login_prefix, located,
  sealed_connection, state, reason, generation, schema_version, schema_fingerprint, created_at,
  updated_at
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
returning id, fleet, kind, server, database, role_prefix, login_prefix, located,
  sealed_connection, state, reason, generation, schema_version, schema_fingerprint, created_at,
  updated_at

-- name: set_place
-- Let a tenant be somewhere else, if nobody has changed it meanwhile.
update bulkhead.fleet_tenants
set kind = $3,
  server = $4,
  database = $5,
  role_prefix = $6,
  login_prefix = $7,
  sealed_connection = $8,
  located = $9
where id = $1
  and generation = $2
returning id, fleet, kind, server, database, role_prefix, login_prefix, located,
  sealed_connection, state, reason, generation, schema_version, schema_fingerprint, created_at,
  updated_at

-- name: set_schema
-- Note which schema a tenant has now.
update bulkhead.fleet_tenants
set schema_version = $2,
  schema_fingerprint = $3
where id = $1
returning id, fleet, kind, server, database, role_prefix, login_prefix, located,
  sealed_connection, state, reason, generation, schema_version, schema_fingerprint, created_at,
  updated_at

-- name: remove_tenant
-- Forget a tenant.
delete from bulkhead.fleet_tenants
where id = $1
returning id
