-- name: find_template
-- The template of a schema on a server.
select name
from bulkhead.fleet_spares
where server = $1
  and fleet = $2
  and fingerprint = $3
  and purpose = 'template'
  and state = 'ready'

-- name: claim_warm
-- Take a database that is ready; of many who try at once, each gets another one, or none.
delete from bulkhead.fleet_spares
where name = (
  select name
  from bulkhead.fleet_spares
  where server = $1
    and fleet = $2
    and fingerprint = $3
    and purpose = 'warm'
    and state = 'ready'
  order by created_at
  limit 1
  for update skip locked
)
returning name

-- name: lock_server
-- A server, locked so that only one decides how many spares it gets, and whether it is drained.
select draining_at is not null as is_drained
from bulkhead.fleet_servers
where name = $1
for no key update

-- name: count_warm
-- How many databases of a schema are ready on a server, or being made.
select count(*)
from bulkhead.fleet_spares
where server = $1
  and fleet = $2
  and fingerprint = $3
  and purpose = 'warm'
  and (state = 'ready' or (state = 'making' and leased_until > clock_timestamp()))

-- name: add_spare
-- Note a database before it is made.
insert into bulkhead.fleet_spares
  (name, server, fleet, purpose, version, fingerprint, leased_until)
values ($1, $2, $3, $4, $5, $6, clock_timestamp() + make_interval(secs => $7))

-- name: finish_spare
-- A database is ready, unless it took too long, or another template was faster.
update bulkhead.fleet_spares s
set state = 'ready'
where name = $1
  and state = 'making'
  and not exists (
    select 1
    from bulkhead.fleet_spares other
    where s.purpose = 'template'
      and other.purpose = 'template'
      and other.state = 'ready'
      and other.server = s.server
      and other.fleet = s.fleet
      and other.fingerprint = s.fingerprint
  )
returning name

-- name: condemn_spare
-- One that nobody gets any more; whoever says so drops it, or a sweep after a while.
update bulkhead.fleet_spares
set state = 'dropping',
  leased_until = clock_timestamp() + make_interval(secs => $2)
where name = $1

-- name: condemn_spares
-- Those that were left half-made, and those of older schemas; to be dropped by whoever claims them.
update bulkhead.fleet_spares
set state = 'dropping',
  leased_until = clock_timestamp()
where fleet = $1
  and (
    (state = 'making' and leased_until < clock_timestamp())
    or (state = 'ready' and version < $2)
    or (state = 'ready' and version = $2 and fingerprint <> all ($3::text[]))
    or (
      state = 'ready'
      and server in (select name from bulkhead.fleet_servers where draining_at is not null)
    )
  )

-- name: claim_condemned
-- Some that are to be dropped, the first of each server before the second of any, for one process:
-- a server refuses to drop the same twice at once.
update bulkhead.fleet_spares s
set leased_until = clock_timestamp() + make_interval(secs => $3)
from (
  select name
  from bulkhead.fleet_spares
  where name in (
    select name
    from bulkhead.fleet_spares
    where fleet = $1
      and state = 'dropping'
      and leased_until <= clock_timestamp()
    order by row_number() over (partition by server order by created_at), created_at
    limit $2
  )
    and leased_until <= clock_timestamp()
  for update skip locked
) due
where s.name = due.name
returning s.name, s.server

-- name: left_at
-- How many spares are on a server, and how long somebody may make or drop some of them.
select count(*) as count,
  max(leased_until) filter (
    where state in ('making', 'dropping') and leased_until > clock_timestamp()
  ) as busy_until
from bulkhead.fleet_spares
where server = $1
  and fleet = $2

-- name: release_spare
-- One that could not be dropped, or was not made to the end: a sweep takes it up after a while.
update bulkhead.fleet_spares
set leased_until = clock_timestamp() + make_interval(secs => $2)
where name = $1
  and state in ('making', 'dropping')

-- name: remove_spare
-- Forget one that has been dropped.
delete from bulkhead.fleet_spares
where name = $1
  and state = 'dropping'

-- name: forget_spares
-- Forget all that were noted on a server.
delete from bulkhead.fleet_spares
where server = $1
  and fleet = $2
returning name
