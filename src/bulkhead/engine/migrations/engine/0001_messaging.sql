-- Events: the outbox with its deliveries, and the inbox of the databases that receive them.

create table bulkhead.events (
  id uuid primary key,
  type text not null,
  key text not null,
  payload jsonb not null,
  occurred_at timestamptz not null default now()
);

comment on table bulkhead.events is
  'What this database has published, written in the transaction that made it true.';
comment on column bulkhead.events.id is
  'A UUIDv7, so that the primary key also sorts by time.';

-- A delivery lives for milliseconds: inserted, leased once, deleted. The lease columns stand in no
-- index and half of each page is kept free, so that leasing is a heap-only update. The file is not
-- truncated when it happens to be empty: it would grow again at once.
create table bulkhead.deliveries (
  position bigint generated always as identity,
  event_id uuid not null,
  handler text not null,
  key text not null,
  lane bigint not null
    generated always as (hashtextextended(key, hashtextextended(handler, 0))) stored,
  attempts integer not null default 0,
  available_at timestamptz not null default clock_timestamp(),
  leased_until timestamptz,
  lease_id uuid,
  dead_at timestamptz,
  last_error text,
  primary key (handler, position),
  unique (event_id, handler)
) with (
  fillfactor = 50,
  vacuum_truncate = false,
  autovacuum_vacuum_scale_factor = 0,
  autovacuum_vacuum_threshold = 5000,
  autovacuum_vacuum_insert_threshold = -1,
  autovacuum_analyze_scale_factor = 0,
  autovacuum_analyze_threshold = 20000
);

comment on table bulkhead.deliveries is
  'What each handler has still to receive: one row per event and handler, gone when acknowledged.';
comment on column bulkhead.deliveries.position is
  'Orders the deliveries of one handler and key; never used to remember what was read.';
comment on column bulkhead.deliveries.lane is
  'Handler and key in one number: deliveries of one lane are made one after another.';
comment on column bulkhead.deliveries.lease_id is
  'Who works on it until leased_until; anybody may take it over afterwards.';
comment on column bulkhead.deliveries.dead_at is
  'When it was given up on: a dead letter, which holds back its own key and no other.';

create index deliveries_lane_idx on bulkhead.deliveries (lane, position);
create index deliveries_dead_idx on bulkhead.deliveries (dead_at) where dead_at is not null;

create table bulkhead.discarded_deliveries (
  event_id uuid not null,
  handler text not null,
  reason text not null check (reason <> ''),
  attempts integer not null,
  last_error text,
  discarded_at timestamptz not null default now(),
  primary key (event_id, handler)
);

comment on table bulkhead.discarded_deliveries is
  'Dead letters that somebody decided never to deliver, and why.';

create table bulkhead.inbox (
  event_id uuid not null,
  handler text not null,
  received_at timestamptz not null default now(),
  primary key (event_id, handler)
);

comment on table bulkhead.inbox is
  'What handlers of this database have done, written in their transaction: each event once.';

alter table bulkhead.events enable row level security;
alter table bulkhead.events force row level security;
alter table bulkhead.deliveries enable row level security;
alter table bulkhead.deliveries force row level security;
alter table bulkhead.discarded_deliveries enable row level security;
alter table bulkhead.discarded_deliveries force row level security;
alter table bulkhead.inbox enable row level security;
alter table bulkhead.inbox force row level security;

-- migrate:down
drop table bulkhead.inbox;
drop table bulkhead.discarded_deliveries;
drop table bulkhead.deliveries;
drop table bulkhead.events;
