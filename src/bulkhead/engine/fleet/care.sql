-- name: add_deletion
-- A tenant is deleted; nothing changes when it was before, unless it was made again after it was
-- gone.
insert into bulkhead.fleet_deletions as d (tenant, fleet, reason, purge_at)
values ($1, $2, $3, clock_timestamp() + make_interval(secs => $4))
on conflict (tenant) do update
set fleet = excluded.fleet,
  state = excluded.state,
  reason = excluded.reason,
  purge_at = excluded.purge_at,
  archive = null,
  manifest = null,
  attempts = 0,
  requested_at = excluded.requested_at,
  finished_at = null
where d.state = 'dropped'

-- name: find_deletion
-- The deletion of a tenant.
select tenant, fleet, state, reason, purge_at, archive, manifest, attempts, error, requested_at,
  finished_at
from bulkhead.fleet_deletions
where tenant = $1

-- name: forget_deletion
-- A tenant is restored, unless its database is being dropped.
delete from bulkhead.fleet_deletions
where tenant = $1
  and state = 'waiting'
  and (leased_until is null or leased_until < clock_timestamp())
returning tenant

-- name: claim_deletions
-- Those whose time is over, for one worker each.
update bulkhead.fleet_deletions
set leased_until = clock_timestamp() + make_interval(secs => $2),
  attempts = attempts + 1
where tenant in (
  select tenant
  from bulkhead.fleet_deletions
  where fleet = $1
    and state <> 'dropped'
    and purge_at <= clock_timestamp()
    and (leased_until is null or leased_until < clock_timestamp())
  order by purge_at
  limit $3
  for update skip locked
)
returning tenant, fleet, state, reason, purge_at, archive, manifest, attempts, error, requested_at,
  finished_at

-- name: hold_deletion
-- Go on with a purge, or leave it to others in a moment; nothing when somebody else has it, or it was
-- taken back.
update bulkhead.fleet_deletions
set leased_until = clock_timestamp() + make_interval(secs => $4)
where tenant = $1
  and attempts = $2
  and requested_at = $3
  and state <> 'dropped'
returning tenant

-- name: note_export
-- The tenant's rows are in an archive, or it has none here; it is not restored any more.
update bulkhead.fleet_deletions
set state = 'exported',
  archive = $4,
  manifest = $5,
  error = null
where tenant = $1
  and attempts = $2
  and requested_at = $3
  and state = 'waiting'
returning tenant

-- name: note_dropped
-- There is nothing left of the tenant but its archive.
update bulkhead.fleet_deletions
set state = 'dropped',
  error = null,
  leased_until = null,
  finished_at = clock_timestamp()
where tenant = $1
  and attempts = $2
  and requested_at = $3
  and state <> 'dropped'
returning tenant

-- name: note_purge_failure
-- It is tried again later.
update bulkhead.fleet_deletions
set error = $4,
  leased_until = clock_timestamp() + make_interval(secs => $5)
where tenant = $1
  and attempts = $2
  and requested_at = $3

-- name: list_deletions
-- The deletions of a fleet that are not at their end.
select tenant, fleet, state, reason, purge_at, archive, manifest, attempts, error, requested_at,
  finished_at
from bulkhead.fleet_deletions
where fleet = $1
  and state <> 'dropped'
order by purge_at
