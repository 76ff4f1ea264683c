-- name: list_held
-- Tenants of a fleet that are not migrated because they are being moved, the oldest move first. One
-- that only waits to be confirmed holds nobody: its way back was given up.
select tenant, target, step, deadline_at
from bulkhead.fleet_moves
where fleet = $1
  and finished_at is null
  and (step <> 'verified' or alarmed_at is null)
order by created_at

-- name: count_due
-- How many tenants of a fleet are not where they should be and can be migrated now, and those that
-- wait, of the ones that are held. A run without work asks nothing else.
select count(*) filter (where not w.waits) as due,
  coalesce(array_agg(t.id) filter (where w.waits), '{}') as waiting
from bulkhead.fleet_tenants t
cross join lateral (select t.state = 'moving' or t.id = any ($5::uuid[]) as waits) w
where t.fleet = $1
  and t.state in ('active', 'suspended', 'moving')
  and (($2 = 'up' and t.schema_version < $3) or ($2 = 'down' and t.schema_version > $3))
  and ($4::uuid[] is null or t.id = any ($4))

-- name: end_other_runs
-- A run with another aim gives way.
update bulkhead.fleet_migration_runs
set state = 'stopped',
  reason = 'another run was started',
  finished_at = clock_timestamp()
where fleet = $1
  and state = 'running'
  and (direction <> $2 or target <> $3)

-- name: begin_run
-- Begin a run; nothing while there is an open one.
insert into bulkhead.fleet_migration_runs (id, fleet, direction, target)
values ($1, $2, $3, $4)
on conflict (fleet) where state = 'running' do nothing
returning id

-- name: find_run
-- The run that is open, if that is its aim.
select id
from bulkhead.fleet_migration_runs
where fleet = $1
  and state = 'running'
  and direction = $2
  and target = $3

-- name: end_run
-- A run is over; of several processes that end it, the first one is heard.
update bulkhead.fleet_migration_runs
set state = $2,
  reason = $3,
  finished_at = clock_timestamp()
where id = $1
  and state = 'running'

-- name: is_running
-- Whether a run goes on.
select state = 'running'
from bulkhead.fleet_migration_runs
where id = $1

-- name: claim
-- Tenants that are due, for one process: new ones, those whose process died, and those that failed
-- for a reason that may have passed; none of those that are held, and none for a run that has ended.
with chosen as (
  select t.id, t.schema_version
  from bulkhead.fleet_tenants t
  left join bulkhead.fleet_migrations m on m.tenant = t.id
  where t.fleet = $1
    and t.state in ('active', 'suspended')
    and (($2 = 'up' and t.schema_version < $3) or ($2 = 'down' and t.schema_version > $3))
    and ($4::uuid[] is null or t.id = any ($4))
    and (
      m.tenant is null
      or m.state = 'done'
      or (m.state = 'running' and m.leased_until < clock_timestamp())
      or (m.state = 'failed' and m.run is distinct from $5)
      or (m.state = 'failed' and m.retry_at <= clock_timestamp())
    )
    and t.id <> all ($9::uuid[])
    and exists (
      select from bulkhead.fleet_migration_runs r where r.id = $5 and r.state = 'running'
    )
  order by t.id
  limit $8
  for no key update of t skip locked
), noted as (
  insert into bulkhead.fleet_migrations as m
    (tenant, run, direction, target, state, owner, leased_until)
  select id, $5, $2, $3, 'running', $6, clock_timestamp() + make_interval(secs => $7)
  from chosen
  on conflict (tenant) do update
  set run = excluded.run,
    direction = excluded.direction,
    target = excluded.target,
    state = 'running',
    attempts = case
      when m.run is not distinct from excluded.run and m.state <> 'done' then m.attempts + 1
      else 1
    end,
    error = null,
    owner = excluded.owner,
    leased_until = excluded.leased_until,
    retry_at = null,
    duration_ms = null,
    started_at = clock_timestamp(),
    finished_at = null
  returning m.tenant, m.attempts, m.started_at
)
select t.id, t.fleet, t.kind, t.server, t.database, t.role_prefix, t.login_prefix,
  t.located, t.sealed_connection, t.state, t.reason, t.generation, t.schema_version,
  t.schema_fingerprint, t.created_at, t.updated_at, noted.attempts, noted.started_at
from noted
join bulkhead.fleet_tenants t on t.id = noted.tenant
order by t.id

-- name: unclaim
-- Give some tenants back.
delete from bulkhead.fleet_migrations
where tenant = any ($1::uuid[])

-- name: lock_tenant
-- Have no other process begin to move or migrate a tenant.
select id
from bulkhead.fleet_tenants
where id = $1
for no key update

-- name: claim_one
-- Migrate one tenant outside of any run.
insert into bulkhead.fleet_migrations as m
  (tenant, direction, target, state, owner, leased_until)
select t.id, 'up', $2, 'running', $3, clock_timestamp() + make_interval(secs => $4)
from bulkhead.fleet_tenants t
where t.id = $1
on conflict (tenant) do update
set run = case when m.state = 'running' then m.run end,
  direction = excluded.direction,
  target = excluded.target,
  state = 'running',
  error = null,
  owner = excluded.owner,
  leased_until = greatest(m.leased_until, excluded.leased_until),
  retry_at = null,
  duration_ms = null,
  started_at = clock_timestamp(),
  finished_at = null
returning m.started_at

-- name: hold_claim
-- Go on with a tenant, or leave it to others in a moment; nothing once its lease has ended, or
-- somebody else has taken it up.
update bulkhead.fleet_migrations
set leased_until = clock_timestamp() + make_interval(secs => $3)
where tenant = $1
  and started_at = $2
  and state = 'running'
  and leased_until > clock_timestamp()
returning tenant

-- name: note_done
-- A tenant is where it should be, with the schema that it has now; nothing when there is none, or it
-- has gone to another server.
with ended as (
  update bulkhead.fleet_migrations
  set state = 'done',
    error = null,
    duration_ms = $2,
    finished_at = clock_timestamp()
  where tenant = $1
)
update bulkhead.fleet_tenants
set schema_version = $3,
  schema_fingerprint = $4
where id = $1
  and server is not distinct from $5
returning id

-- name: note_failed
-- A tenant could not be migrated; the same run tries it again where the reason may pass. Nothing
-- when somebody else has taken it up since.
update bulkhead.fleet_migrations
set state = 'failed',
  error = $3,
  retry_at = clock_timestamp() + make_interval(secs => $4),
  duration_ms = $5,
  finished_at = clock_timestamp()
where tenant = $1
  and started_at = $2
  and state = 'running'

-- name: sum_run
-- How many tenants of a run are to be tried again, if they can be, and how many somebody has.
select count(*) filter (
    where (
      (m.state = 'failed' and m.retry_at is not null)
      or (m.state = 'running' and m.leased_until <= clock_timestamp())
    )
      and t.state in ('active', 'suspended')
      and (
        (m.direction = 'up' and t.schema_version < m.target)
        or (m.direction = 'down' and t.schema_version > m.target)
      )
      and ($2::uuid[] is null or t.id = any ($2))
      and t.id <> all ($3::uuid[])
  ) as waiting,
  count(*) filter (where m.state = 'running' and m.leased_until > clock_timestamp()) as running
from bulkhead.fleet_migrations m
join bulkhead.fleet_tenants t on t.id = m.tenant
where m.run = $1

-- name: sum_fleet
-- How many tenants have which schema, and how many of those are not what they should be.
select t.kind, t.schema_version, t.schema_fingerprint, count(*) as tenants,
  count(*) filter (where m.state = 'failed') as failed,
  count(*) filter (where m.state = 'running') as running
from bulkhead.fleet_tenants t
left join bulkhead.fleet_migrations m on m.tenant = t.id
where t.fleet = $1
  and t.state <> 'provisioning'
group by t.kind, t.schema_version, t.schema_fingerprint
order by t.kind, t.schema_version, tenants desc

-- name: list_failed
-- Tenants whose last migration failed.
select tenant, target, attempts, error, finished_at
from bulkhead.fleet_migrations m
join bulkhead.fleet_tenants t on t.id = m.tenant
where t.fleet = $1
  and m.state = 'failed'
order by tenant
limit $2
