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
  input_hash text not null default '',
  output jsonb,
  created_at timestamptz not null default now(),
  settled_at timestamptz,
  primary key (saga_id, step)
);

comment on table bulkhead.saga_steps is
  'Written in the transaction of the step itself: done, with its output, or undone for good.';
comment on column bulkhead.saga_steps.input_hash is
  'What the step ran for: two requests with one key may run a first stage side by side.';
comment on column bulkhead.saga_steps.settled_at is
  'When the saga was seen to have ended, so that the marker needs no further look.';

create index saga_steps_unsettled_idx on bulkhead.saga_steps (created_at)
  where settled_at is null;

alter table bulkhead.sagas enable row level security;
alter table bulkhead.sagas force row level security;
alter table bulkhead.saga_steps enable row level security;
alter table bulkhead.saga_steps force row level security;

-- A function, because its plans are kept; row by row, because such a plan must not depend on how many
-- sagas there were when it was made.
create function bulkhead.finish_sagas(
  new_state text, ids uuid[], fences integer[], outcomes jsonb[]
) returns void
language plpgsql
set search_path = ''
set enable_seqscan = off
as $$
begin
  for n in 1 .. cardinality(ids) loop
    update bulkhead.sagas s
    set state = new_state,
      result = case new_state when 'completed' then outcomes[n] else s.result end,
      error = case new_state when 'completed' then s.error else outcomes[n] end,
      owner = null,
      updated_at = now()
    where s.id = ids[n] and s.fence = fences[n] and s.state in ('running', 'compensating');
    if not found then
      raise exception 'another worker has taken over this saga' using errcode = 'BHF01';
    end if;
  end loop;
end
$$;

comment on function bulkhead.finish_sagas(text, uuid[], integer[], jsonb[]) is
  'Ends open sagas with a result or an error; refuses the transaction when a fence has moved on.';

-- migrate:down
drop function bulkhead.finish_sagas(text, uuid[], integer[], jsonb[]);
drop table bulkhead.saga_steps;
drop table bulkhead.sagas;
