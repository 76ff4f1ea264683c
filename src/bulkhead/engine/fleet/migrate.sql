-- name: count_due
-- How many tenants of a fleet are not where they should be; all that a run without work asks.
select count(*)
from bulkhead.fleet_tenants
where fleet = $1
  and state in ('active', 'suspended', 'moving')
  and (($2 = 'up' and schema_version < $3) or ($2 = 'down' and schema_version > $3))
  and ($4::uuid[] is null or id = any ($4))

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
-- Begin a run.
insert into bulkhead.fleet_migration_runs (id, fleet, direction, target)
values ($1, $2, $3, $4)
on conflict (fleet) where state = 'running' do nothing

-- name: find_run
-- The run that is open.
select id, direction, target
from bulkhead.fleet_migration_runs
where fleet = $1
  and state = 'running'

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
-- for a reason that may have passed. A tenant that is being moved waits until it has arrived.
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
    and not exists (
      select 1 from bulkhead.fleet_moves v where v.tenant = t.id and v.finished_at is null
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
  returning m.tenant, m.attempts
)
select t.id, t.fleet, t.kind, t.server, t.database, t.role_prefix, t.login_prefix,
  t.sealed_connection, t.state, t.reason, t.generation, t.schema_version, t.schema_fingerprint,
  t.created_at, t.updated_at, noted.attempts
from noted
join bulkhead.fleet_tenants t on t.id = noted.tenant
order by t.id

-- name: note_done
-- A tenant is where it should be.
update bulkhead.fleet_migrations
set state = 'done',
  error = null,
  duration_ms = $2,
  finished_at = clock_timestamp()
where tenant = $1

-- name: note_failed
-- A tenant could not be migrated; the same run tries it again where the reason may pass.
update bulkhead.fleet_migrations
set state = 'failed',
  error = $2,
  retry_at = clock_timestamp() + make_interval(secs => $3),
  duration_ms = $4,
  finished_at = clock_timestamp()
where tenant = $1

-- name: sum_run
-- How far a run has come: done, failed for good, to be tried again, and in the hands of somebody.
select count(*) filter (where state = 'done') as done,
  count(*) filter (where state = 'failed' and retry_at is null) as failed,
  count(*) filter (where state = 'failed' and retry_at is not null) as waiting,
  count(*) filter (where state = 'running' and leased_until > clock_timestamp()) as running
from bulkhead.fleet_migrations
where run = $1

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
