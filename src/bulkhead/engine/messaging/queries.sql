-- The planner is asked while an outbox is empty and then keeps its plan, so that nothing here may
-- depend on an estimate. What was looked at is leased, acknowledged or failed by its ctid, which
-- leaves no other plan; `position + 0` then makes sure of the row, and matches no index.

-- name: list_next_deliveries
-- The first $3 deliveries of handler $1; whether each is free for $2, or else leased by another.
select ctid, position, lane,
  dead_at is null
    and available_at <= statement_timestamp()
    and (leased_until is null or leased_until <= statement_timestamp() or lease_id = $2) as free,
  coalesce(leased_until > statement_timestamp() and lease_id <> $2, false) as leased
from bulkhead.deliveries
where handler = $1
order by handler, position
limit $3

-- name: list_deliveries_after
-- The same after position $4; free only if nothing of its lane stands at or before it.
select d.ctid, d.position, d.lane,
  d.dead_at is null
    and d.available_at <= statement_timestamp()
    and (d.leased_until is null or d.leased_until <= statement_timestamp() or d.lease_id = $2)
    and not exists (
      select from bulkhead.deliveries earlier
      where earlier.lane = d.lane and earlier.position <= $4
    ) as free,
  coalesce(d.leased_until > statement_timestamp() and d.lease_id <> $2, false) as leased
from bulkhead.deliveries d
where d.handler = $1
  and d.position > $4
order by d.handler, d.position
limit $3

-- name: lease_deliveries
-- Lease for $1 those of deliveries $2 at $3 that are still free, passing over what is locked.
with leased as (
  update bulkhead.deliveries
  set lease_id = $1,
    leased_until = statement_timestamp() + make_interval(secs => $4)
  where ctid = any (
    array(
      select d.ctid
      from bulkhead.deliveries d
      where d.ctid = any ($3::tid[])
        and d.position + 0 = any ($2::bigint[])
        and d.dead_at is null
        and d.available_at <= statement_timestamp()
        and (d.leased_until is null or d.leased_until <= statement_timestamp() or d.lease_id = $1)
      for update skip locked
    )
  )
  returning ctid, position, lane, attempts, event_id, key
)
select l.ctid, l.position, l.lane, l.attempts, l.event_id, l.key,
  e.type, e.payload, e.occurred_at
from leased l
join bulkhead.events e on e.id = l.event_id

-- name: fail_deliveries
-- Note a failed attempt at deliveries $2 at $3 with errors $4; after $5 of them give up.
update bulkhead.deliveries d
set attempts = d.attempts + 1,
  last_error = f.error,
  available_at = statement_timestamp()
    + make_interval(secs => least($7::float8, $6 * 2 ^ d.attempts) * (0.5 + random())),
  dead_at = case when d.attempts + 1 >= $5 then statement_timestamp() end,
  lease_id = null,
  leased_until = null
from unnest($2::bigint[], $3::tid[], $4::text[]) f (position, place, error)
where d.ctid = f.place
  and d.position + 0 = f.position
  and d.lease_id = $1

-- name: release_deliveries
-- Give deliveries $2 at $3 back untried.
update bulkhead.deliveries
set lease_id = null, leased_until = null
where ctid = any ($3::tid[]) and position + 0 = any ($2::bigint[]) and lease_id = $1

-- name: list_waiting_handlers
-- Those of handlers $1 that have something to receive after positions $2.
select h.handler
from unnest($1::text[], $2::bigint[]) h (handler, floor)
cross join lateral (
  select d.position
  from bulkhead.deliveries d
  where d.handler = h.handler and d.position > h.floor and d.dead_at is null
  order by d.handler, d.position
  limit 1
) first

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
-- Delete at most $2 events older than $1 days, with ids before $3, that nobody waits for any more.
delete from bulkhead.events
where id in (
  select e.id
  from bulkhead.events e
  where e.id < $3
    and e.occurred_at < now() - make_interval(days => $1)
    and not exists (select from bulkhead.deliveries d where d.event_id = e.id)
  order by e.id
  limit $2
)

-- name: prune_inbox
-- Delete at most $2 inbox rows older than $1 days, of events with ids before $3.
delete from bulkhead.inbox
where (event_id, handler) in (
  select i.event_id, i.handler
  from bulkhead.inbox i
  where i.event_id < $3
    and i.received_at < now() - make_interval(days => $1)
  order by i.event_id
  limit $2
)

-- name: prune_discarded
-- Delete at most $2 records older than $1 days of discarded events with ids before $3.
delete from bulkhead.discarded_deliveries
where (event_id, handler) in (
  select d.event_id, d.handler
  from bulkhead.discarded_deliveries d
  where d.event_id < $3
    and d.discarded_at < now() - make_interval(days => $1)
  order by d.event_id
  limit $2
)

-- name: list_dead_letters
-- The dead letters of this outbox, oldest first, at most $1.
select d.event_id, d.handler, d.attempts, d.dead_at, d.last_error,
  e.type, e.key, e.payload, e.occurred_at,
  (
    select count(*)
    from bulkhead.deliveries behind
    where behind.lane = d.lane and behind.position > d.position
  ) as blocked
from bulkhead.deliveries d
join bulkhead.events e on e.id = d.event_id
where d.dead_at is not null
order by d.dead_at, d.position
limit $1

-- name: find_dead_letter
-- The dead letter of event $1 for handler $2.
select d.event_id, d.handler, d.attempts, d.dead_at, d.last_error,
  e.type, e.key, e.payload, e.occurred_at,
  (
    select count(*)
    from bulkhead.deliveries behind
    where behind.lane = d.lane and behind.position > d.position
  ) as blocked
from bulkhead.deliveries d
join bulkhead.events e on e.id = d.event_id
where d.event_id = $1 and d.handler = $2 and d.dead_at is not null

-- name: resend
-- Let the delivery of event $1 to handler $2 be tried afresh, at once.
update bulkhead.deliveries
set attempts = 0, available_at = statement_timestamp(), dead_at = null
where event_id = $1
  and handler = $2
  and (leased_until is null or leased_until <= statement_timestamp())
returning position

-- name: restore_discarded
-- Let a discarded delivery be tried after all, behind whatever waits under its key.
with restored as (
  delete from bulkhead.discarded_deliveries
  where event_id = $1 and handler = $2
  returning event_id, handler
)
insert into bulkhead.deliveries (event_id, handler, key)
select e.id, r.handler, e.key
from restored r
join bulkhead.events e on e.id = r.event_id
returning position

-- name: discard
-- Give up the dead letter of event $1 for handler $2 for good, because of $3.
with gone as (
  delete from bulkhead.deliveries
  where event_id = $1 and handler = $2 and dead_at is not null
  returning event_id, handler, attempts, last_error
)
insert into bulkhead.discarded_deliveries (event_id, handler, reason, attempts, last_error)
select event_id, handler, $3, attempts, last_error
from gone
on conflict (event_id, handler) do update
set reason = excluded.reason,
  attempts = excluded.attempts,
  last_error = excluded.last_error,
  discarded_at = now()
returning event_id

-- name: list_events
-- The newest events of this outbox before event $2, of type $1 if given, at most $3.
select id, type, key, payload, occurred_at
from bulkhead.events
where ($1::text is null or type = $1)
  and ($2::uuid is null or id < $2)
order by id desc
limit $3

-- name: find_event
-- One event of this outbox.
select id, type, key, payload, occurred_at
from bulkhead.events
where id = $1

-- name: list_event_deliveries
-- What has still to be done about event $1, and what never will be.
select handler, attempts, available_at, leased_until, dead_at, last_error,
  null::text as discarded_because
from bulkhead.deliveries
where event_id = $1
union all
select handler, attempts, null, null, null, last_error, reason
from bulkhead.discarded_deliveries
where event_id = $1
order by handler

-- name: list_receipts
-- Which handlers of this database have received event $1, and when.
select handler, received_at
from bulkhead.inbox
where event_id = $1
order by handler
