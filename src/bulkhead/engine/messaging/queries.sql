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
returning d.position, d.lane, d.attempts, d.event_id, d.key, e.type, e.payload, e.occurred_at

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
