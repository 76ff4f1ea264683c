-- name: list_next_deliveries
-- The first $3 deliveries of handler $1, and whether each is free for $2 to lease.
select position, lane,
  dead_at is null
    and available_at <= statement_timestamp()
    and (leased_until is null or leased_until <= statement_timestamp() or lease_id = $2) as free
from bulkhead.deliveries
where handler = $1
order by position
limit $3

-- name: list_deliveries_after
-- The same after position $4; free only if nothing of its lane stands at or before it.
select d.position, d.lane,
  d.dead_at is null
    and d.available_at <= statement_timestamp()
    and (d.leased_until is null or d.leased_until <= statement_timestamp() or d.lease_id = $2)
    and not exists (
      select from bulkhead.deliveries earlier
      where earlier.lane = d.lane and earlier.position <= $4
    ) as free
from bulkhead.deliveries d
where d.handler = $1
  and d.position > $4
order by d.position
limit $3

-- name: lease_deliveries
-- Lease those of deliveries $3 that are still free, passing over what another relay is leasing.
update bulkhead.deliveries d
set lease_id = $2,
  leased_until = statement_timestamp() + make_interval(secs => $4)
from bulkhead.events e
where d.handler = $1
  and d.position = any (
    array(
      select l.position
      from bulkhead.deliveries l
      where l.handler = $1
        and l.position = any ($3::bigint[])
        and l.dead_at is null
        and l.available_at <= statement_timestamp()
        and (l.leased_until is null or l.leased_until <= statement_timestamp() or l.lease_id = $2)
      for update skip locked
    )
  )
  and e.id = d.event_id
returning d.position, d.lane, d.event_id, d.key, e.type, e.payload, e.occurred_at

-- name: fail_deliveries
-- Note a failed attempt at deliveries $3 with errors $4; try again later, or give up after $5.
update bulkhead.deliveries d
set attempts = d.attempts + 1,
  last_error = f.error,
  available_at = statement_timestamp()
    + make_interval(secs => least($7::float8, $6 * 2 ^ d.attempts) * (0.5 + random())),
  dead_at = case when d.attempts + 1 >= $5 then statement_timestamp() end,
  lease_id = null,
  leased_until = null
from unnest($3::bigint[], $4::text[]) f (position, error)
where d.handler = $1
  and d.position = f.position
  and d.lease_id = $2

-- name: release_deliveries
-- Give deliveries $3 back untried.
update bulkhead.deliveries
set lease_id = null, leased_until = null
where handler = $1 and position = any ($3::bigint[]) and lease_id = $2

-- name: list_waiting_handlers
-- Those of handlers $1 that have something to receive.
select h.handler
from unnest($1::text[]) h (handler)
where exists (
  select from bulkhead.deliveries d where d.handler = h.handler and d.dead_at is null
)

-- name: receive
-- Enter events $2 into the inbox of handler $1; returns those that were not there. Waits at $3.
insert into bulkhead.inbox (event_id, handler)
select e.id, $1
from unnest($2::uuid[]) e (id)
where (select pg_advisory_xact_lock_shared($3)) is not null
on conflict do nothing
returning event_id

-- name: list_backlog
-- What waits in this outbox, by handler: how much, since when, and how much of it is dead.
select d.handler,
  count(*) as waiting,
  count(*) filter (where d.dead_at is not null) as dead,
  count(*) filter (where d.leased_until > clock_timestamp()) as leased,
  extract(epoch from clock_timestamp() - min(e.occurred_at))::float8 as oldest_s
from bulkhead.deliveries d
join bulkhead.events e on e.id = d.event_id
group by d.handler
order by d.handler

-- name: prune_events
-- Delete at most $2 events older than $1 days that nobody has still to receive.
delete from bulkhead.events
where id in (
  select e.id
  from bulkhead.events e
  where e.occurred_at < now() - make_interval(days => $1)
    and not exists (select from bulkhead.deliveries d where d.event_id = e.id)
  order by e.id
  limit $2
)

-- name: prune_inbox
-- Delete at most $2 inbox rows older than $1 days.
delete from bulkhead.inbox
where (event_id, handler) in (
  select i.event_id, i.handler
  from bulkhead.inbox i
  where i.received_at < now() - make_interval(days => $1)
  order by i.event_id
  limit $2
)

-- name: prune_discarded
-- Delete at most $2 records of discarded deliveries older than $1 days.
delete from bulkhead.discarded_deliveries
where (event_id, handler) in (
  select d.event_id, d.handler
  from bulkhead.discarded_deliveries d
  where d.discarded_at < now() - make_interval(days => $1)
  order by d.event_id
  limit $2
)
