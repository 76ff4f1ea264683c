-- name: add_move
-- Begin a move, unless the tenant is being moved or migrated.
insert into bulkhead.fleet_moves
  (id, tenant, fleet, source, target, database, resume_state, deadline_at)
select $1, t.id, t.fleet, t.server, $3, t.database, t.state,
  clock_timestamp() + make_interval(secs => $4)
from bulkhead.fleet_tenants t
where t.id = $2
  and t.state in ('active', 'suspended')
  and t.server <> $3
  and not exists (
    select 1
    from bulkhead.fleet_migrations m
    where m.tenant = t.id and m.state = 'running' and m.leased_until > clock_timestamp()
  )
on conflict (tenant) where finished_at is null do nothing
returning id

-- name: lock_tenant
-- Have no other process begin to move or migrate a tenant.
select id
from bulkhead.fleet_tenants
where id = $1
for no key update

-- name: has_room
-- Whether a server, once it is locked, takes one tenant more; nothing when there is no such.
select s.draining_at is null
  and s.capacity > s.tenants + (
    select count(*)
    from bulkhead.fleet_moves v
    where v.target = s.name
      and v.finished_at is null
      and v.step in ('started', 'schema', 'copying', 'fenced')
  )
from bulkhead.fleet_servers s
where name = $1

-- name: is_taken
-- Whether another tenant has the name on a server.
select count(*) > 0
from bulkhead.fleet_tenants
where server = $1
  and database = $2

-- name: find_move
-- The open move of a tenant.
select id, tenant, fleet, source, target, database, step, resume_state, error, fence_ms, report,
  deadline_at, alarmed_at, finished_at
from bulkhead.fleet_moves
where tenant = $1
  and finished_at is null

-- name: get_move
-- One move.
select id, tenant, fleet, source, target, database, step, resume_state, error, fence_ms, report,
  deadline_at, alarmed_at, finished_at
from bulkhead.fleet_moves
where id = $1

-- name: list_moves
-- The open moves of a fleet.
select id, tenant, fleet, source, target, database, step, resume_state, error, fence_ms, report,
  deadline_at, alarmed_at, finished_at
from bulkhead.fleet_moves
where fleet = $1
  and finished_at is null
order by created_at

-- name: lease_move
-- Be the only one who works on a move. What the tenant is served as when that is done is what it is
-- now: it may have been suspended or resumed since.
update bulkhead.fleet_moves m
set leased_until = clock_timestamp() + make_interval(secs => $2),
  resume_state = coalesce(
    (
      select t.state
      from bulkhead.fleet_tenants t
      where t.id = m.tenant
        and t.state in ('active', 'suspended')
    ),
    m.resume_state
  )
where id = $1
  and finished_at is null
  and (leased_until is null or leased_until < clock_timestamp())
returning leased_until

-- name: renew_move
-- Go on being the only one; nothing when somebody else is that by now.
update bulkhead.fleet_moves
set leased_until = clock_timestamp() + make_interval(secs => $2)
where id = $1
  and leased_until = $3
returning leased_until

-- name: release_move
-- Let others work on it, unless somebody else does already.
update bulkhead.fleet_moves
set leased_until = null,
  error = $2
where id = $1
  and leased_until = $3

-- name: note_step
-- A move has come further; one whose way back was given up goes no way back.
update bulkhead.fleet_moves
set step = $3,
  error = null,
  updated_at = clock_timestamp(),
  finished_at = case when $3 in ('confirmed', 'reverted') then clock_timestamp() end
where id = $1
  and step = $2
  and not ($2 = 'verified' and $3 = 'reverting' and alarmed_at is not null)
returning id

-- name: note_fence
-- For how long nobody could write.
update bulkhead.fleet_moves
set fence_ms = $2
where id = $1

-- name: note_report
-- What was compared.
update bulkhead.fleet_moves
set report = $2
where id = $1

-- name: note_alarm
-- Somebody was told that the time of a move is over, at a step; one that is verified has no way back
-- any more.
update bulkhead.fleet_moves
set alarmed_at = coalesce(alarmed_at, clock_timestamp())
where id = $1
  and step = $2
returning id
