-- name: oldest_event
-- The id of the oldest event kept, or one of $1 seconds ago if that is older.
select least(
  (select id from bulkhead.events order by id limit 1),
  rpad(
    lpad(to_hex((extract(epoch from clock_timestamp()) - $1)::bigint * 1000), 12, '0'), 32, '0'
  )::uuid
)

-- name: received_events
-- The next events in the inbox, each once.
select distinct event_id
from bulkhead.inbox
where event_id > $1
order by event_id
limit $2

-- name: published_events
-- Those of the events that stand in the outbox.
select id
from bulkhead.events
where id = any($1::uuid[])

-- name: first_received
-- The oldest event that a handler has received.
select event_id
from bulkhead.inbox
where handler = $1
order by event_id
limit 1

-- name: acknowledged_events
-- Recent events with each handler for which nothing of them is left to deliver.
select e.id, h.handler
from bulkhead.events e
join unnest($1::text[], $2::text[], $3::uuid[]) as h (handler, type, since)
  on h.type = e.type and e.id > h.since
where (e.id, h.handler) > ($4::uuid, $5::text)
  and e.occurred_at > clock_timestamp() - make_interval(secs => $6)
  and not exists (
    select from bulkhead.deliveries d where d.event_id = e.id and d.handler = h.handler
  )
  and not exists (
    select from bulkhead.discarded_deliveries d where d.event_id = e.id and d.handler = h.handler
  )
order by e.id, h.handler
limit $7

-- name: not_received
-- Those of the events that are not in the inbox of a handler.
select e.event_id
from unnest($2::uuid[]) as e (event_id)
where not exists (
  select from bulkhead.inbox i where i.event_id = e.event_id and i.handler = $1
)
order by e.event_id

-- name: unfinished_sagas
-- Sagas that have neither ended nor reached a person although their deadline is long past.
select id, name, state, extract(epoch from clock_timestamp() - deadline_at)::float8 as overdue_s
from bulkhead.sagas
where state in ('running', 'compensating')
  and deadline_at < clock_timestamp() - make_interval(secs => $1)
order by deadline_at
limit $2

-- name: ended_sagas
-- Sagas that ended some time ago, by id, with how they ended.
select id, state
from bulkhead.sagas
where state in ('completed', 'compensated')
  and id > $1
  and updated_at < clock_timestamp() - make_interval(secs => $2)
order by id
limit $3

-- name: steps_in_state
-- Steps of some sagas whose marker is in a state that does not fit.
select saga_id, step
from bulkhead.saga_steps
where saga_id = any($1::uuid[])
  and state = $2
order by saga_id, step

-- name: open_transactions
-- Other sessions of this database that are in a transaction, and advisory locks somebody holds.
select
  (
    select count(distinct a.pid)
    from pg_catalog.pg_stat_activity a
    join pg_catalog.pg_locks l on l.pid = a.pid and l.locktype = 'virtualxid'
    where a.datname = current_database()
      and a.usename is not null
      and a.pid <> pg_backend_pid()
  ) as transactions,
  (
    select count(*)
    from pg_catalog.pg_locks l
    join pg_catalog.pg_database d on d.oid = l.database
    where l.locktype = 'advisory' and d.datname = current_database()
  ) as advisory_locks
