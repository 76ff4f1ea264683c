-- name: add_notice
-- The server of a tenant has to be told; whoever changed the state does so, or a job after a while.
insert into bulkhead.fleet_notices (tenant, generation, due_at)
values ($1, $2, clock_timestamp() + make_interval(secs => $3))
on conflict (tenant) do update
set generation = excluded.generation,
  attempts = 0,
  error = null,
  due_at = excluded.due_at

-- name: end_notice
-- The server knows what the tenant was at that generation.
delete from bulkhead.fleet_notices
where tenant = $1
  and generation <= $2

-- name: claim_notices
-- Those that are due, for one process each. A tenant that is being moved is told by its move.
update bulkhead.fleet_notices n
set due_at = clock_timestamp() + make_interval(secs => $2),
  attempts = n.attempts + 1
from (
  select n.tenant
  from bulkhead.fleet_notices n
  join bulkhead.fleet_tenants t on t.id = n.tenant
  where t.fleet = $1
    and t.state in ('active', 'suspended', 'deleting')
    and n.due_at <= clock_timestamp()
  order by n.due_at
  limit $3
  for update of n skip locked
) due
where n.tenant = due.tenant
returning n.tenant, n.attempts

-- name: note_failure
-- It is tried again later.
update bulkhead.fleet_notices
set error = $2,
  due_at = clock_timestamp() + make_interval(secs => $3)
where tenant = $1
