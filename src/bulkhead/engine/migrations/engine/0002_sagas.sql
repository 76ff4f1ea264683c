-- Sagas: their records in the database that coordinates them, their markers wherever a step ran.

create table bulkhead.sagas (
  id uuid primary key,
  name text not null,
  state text not null default 'running'
    check (state in ('running', 'compensating', 'completed', 'compensated', 'needs_human')),
  input jsonb not null,
  request_hash text not null,
  result jsonb,
  error jsonb,
  fence integer not null default 1,
  owner text,
  leased_until timestamptz not null,
  deadline_at timestamptz not null,
  attempts integer not null default 0,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
) with (fillfactor = 70);

comment on table bulkhead.sagas is
  'One row per saga that this database coordinates; its id follows from the idempotency key.';

create index sagas_open_idx on bulkhead.sagas (leased_until)
  where state in ('running', 'compensating');
create index sagas_created_at_idx on bulkhead.sagas (created_at, id);

create table bulkhead.saga_steps (
  saga_id uuid not null,
  step text not null,
  saga text not null,
  state text not null check (state in ('done', 'undone')),
  output jsonb,
  created_at timestamptz not null default now(),
  settled_at timestamptz,
  primary key (saga_id, step)
);

comment on table bulkhead.saga_steps is
  'Written in the transaction of the step itself: done, with its output, or undone for good.';
comment on column bulkhead.saga_steps.settled_at is
  'When the saga was seen to have ended, so that the marker needs no further look.';

create index saga_steps_unsettled_idx on bulkhead.saga_steps (created_at)
  where settled_at is null;

alter table bulkhead.sagas enable row level security;
alter table bulkhead.sagas force row level security;
alter table bulkhead.saga_steps enable row level security;
alter table bulkhead.saga_steps force row level security;

create function bulkhead.expect_rows(actual bigint, expected bigint) returns void
language plpgsql
set search_path = ''
as $$
begin
  if actual <> expected then
    raise exception 'another worker has taken over this saga' using errcode = 'BHF01';
  end if;
end
$$;

comment on function bulkhead.expect_rows(bigint, bigint) is
  'Refuses the transaction when an update did not touch the rows it must: the fence of a saga.';

-- migrate:down
drop function bulkhead.expect_rows(bigint, bigint);
drop table bulkhead.saga_steps;
drop table bulkhead.sagas;
