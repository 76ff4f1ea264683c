-- Upkeep of fleets: servers that have still to be told of a tenant's state, and which release began
-- a provisioning job.

create table bulkhead.fleet_notices (
  tenant uuid primary key references bulkhead.fleet_tenants (id) on delete cascade,
  generation bigint not null,
  attempts integer not null default 0,
  error jsonb,
  due_at timestamptz not null,
  created_at timestamptz not null default now()
);
comment on table bulkhead.fleet_notices is
  'Tenants that were opened or closed, until their server knows; written with the new state.';
comment on column bulkhead.fleet_notices.generation is
  'That of the tenant when its state was changed.';
create index fleet_notices_due on bulkhead.fleet_notices (due_at);

alter table bulkhead.fleet_notices enable row level security;
alter table bulkhead.fleet_notices force row level security;

alter table bulkhead.provisioning_jobs
  add column steps smallint not null default 1 check (steps > 0);
comment on column bulkhead.provisioning_jobs.steps is
  'The version of the list of steps with which it is worked on; older releases leave it alone.';

-- migrate:down
alter table bulkhead.provisioning_jobs drop column steps;
drop table bulkhead.fleet_notices;
