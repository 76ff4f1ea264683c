-- name: tenants_by_state
-- How many tenants of a fleet are in which state.
select state, count(*) as count
from bulkhead.fleet_tenants
where fleet = $1
group by state

-- name: servers
-- How full the servers are that anybody may be placed on.
select name, tenants, capacity
from bulkhead.fleet_servers
where reserved_for is null
order by name
limit $1

-- name: jobs_by_state
-- Provisioning jobs that have not ended, by state: how many, for how long the oldest has been
-- there, and how many of them nobody has taken up although they are due.
select state, count(*) as count,
  extract(epoch from clock_timestamp() - min(created_at))::float8 as oldest_s,
  count(*) filter (
    where due_at < clock_timestamp() - make_interval(secs => $2)
      and (leased_until is null or leased_until < clock_timestamp())
  ) as stranded
from bulkhead.provisioning_jobs
where fleet = $1
  and state in ('queued', 'running', 'undoing')
group by state

-- name: ended_jobs
-- How provisioning jobs of the last day ended.
select state, count(*) as count
from bulkhead.provisioning_jobs
where fleet = $1
  and finished_at > now() - interval '1 day'
group by state

-- name: care
-- What else is under way in a fleet, and what of it somebody should look at.
select
  (
    select count(*)
    from bulkhead.fleet_migrations m
    join bulkhead.fleet_tenants t on t.id = m.tenant
    where t.fleet = $1 and m.state = 'failed' and m.retry_at is null
  ) as migrations_failed,
  (select count(*) from bulkhead.fleet_moves where fleet = $1 and finished_at is null) as moves_open,
  (
    select count(*)
    from bulkhead.fleet_moves
    where fleet = $1 and finished_at is null and deadline_at < now()
  ) as moves_late,
  (
    select count(*)
    from bulkhead.fleet_deletions
    where fleet = $1 and state <> 'dropped'
  ) as deletions_waiting,
  (
    select count(*)
    from bulkhead.fleet_deletions
    where fleet = $1 and state <> 'dropped' and error is not null
  ) as deletions_failing,
  (
    select count(*)
    from bulkhead.fleet_notices n
    join bulkhead.fleet_tenants t on t.id = n.tenant
    where t.fleet = $1 and n.error is not null
  ) as servers_untold,
  (
    select count(*)
    from bulkhead.fleet_tenants t
    where t.fleet = $1
      and t.state = 'provisioning'
      and not exists (
        select 1
        from bulkhead.provisioning_jobs j
        where j.tenant = t.id and j.state in ('queued', 'running', 'undoing')
      )
  ) as tenants_orphaned

-- name: drifted
-- Versions of a fleet whose tenants of one kind do not all have the same schema.
select kind, schema_version, count(distinct schema_fingerprint) as schemas
from bulkhead.fleet_tenants
where fleet = $1
  and state <> 'provisioning'
  and schema_fingerprint is not null
group by kind, schema_version
having count(distinct schema_fingerprint) > 1
order by kind, schema_version
