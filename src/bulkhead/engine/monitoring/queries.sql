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

-- name: open_sagas
-- How many sagas have not come to an end by themselves, by state.
select state, count(*) as count
from bulkhead.sagas
where state in ('running', 'compensating', 'needs_human')
group by state

-- name: reference_state
-- What sweeps have found about a reference.
select
  (
    select count(*)
    from bulkhead.reference_violations
    where reference = $1 and resolved_at is null and ignored_at is null
  ) as violations,
  (
    select extract(epoch from clock_timestamp() - min(first_seen_at))::float8
    from bulkhead.reference_violations
    where reference = $1 and resolved_at is null and ignored_at is null
  ) as oldest_s,
  (
    select extract(epoch from clock_timestamp() - last_complete_at)::float8
    from bulkhead.reference_sweeps
    where reference = $1
  ) as sweep_age_s,
  (select rows_checked from bulkhead.reference_sweeps where reference = $1) as rows_checked

-- name: reference_triggers
-- Which of the engine's trigger functions a table has.
select array_agg(distinct p.proname::text)
from pg_catalog.pg_trigger t
join pg_catalog.pg_proc p on p.oid = t.tgfoid
where t.tgrelid = to_regclass($1::text)
  and p.pronamespace = 'bulkhead'::regnamespace
  and t.tgenabled <> 'D'

-- name: count_old_fences
-- How many fences are older than any deletion takes.
select count(*)
from bulkhead.deletion_fences
where placed_at < clock_timestamp() - make_interval(secs => $1)

-- name: sweep_figures
-- Open orphans and age of the last complete sweep, by reference.
select s.reference,
  extract(epoch from clock_timestamp() - s.last_complete_at)::float8 as age_s,
  (
    select count(*)
    from bulkhead.reference_violations v
    where v.reference = s.reference and v.resolved_at is null and v.ignored_at is null
  ) as violations
from bulkhead.reference_sweeps s
order by s.reference

-- name: numeric_columns
-- The columns of our tables that could hold NaN, by table; a domain counts as its base type.
select n.nspname::text as schema, c.relname::text as table,
  array_agg(a.attname::text order by a.attnum) as columns
from pg_catalog.pg_attribute a
join pg_catalog.pg_class c on c.oid = a.attrelid
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
join pg_catalog.pg_type t on t.oid = a.atttypid
where c.relkind in ('r', 'p')
  and n.nspname = 'public'
  and a.attnum > 0
  and not a.attisdropped
  and coalesce(nullif(t.typbasetype, 0), t.oid) in (
    'numeric'::regtype, 'real'::regtype, 'double precision'::regtype
  )
group by n.nspname, c.relname
order by n.nspname, c.relname
