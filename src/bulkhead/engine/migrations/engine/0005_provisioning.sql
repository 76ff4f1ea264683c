-- Provisioning: the jobs that make tenants' databases, and the databases that are made ahead.

create table bulkhead.provisioning_jobs (
  id uuid primary key,
  tenant uuid not null,
  fleet text not null check (fleet <> ''),
  mode text not null check (mode in ('create', 'connect')),
  kind text not null check (kind in ('postgresql', 'mysql', 'supabase-database')),
  label text not null,
  wishes jsonb not null default '{}' check (jsonb_typeof(wishes) = 'object'),
  request_hash text not null,
  sealed_config bytea,
  state text not null default 'queued'
    check (state in ('queued', 'running', 'undoing', 'active', 'failed', 'cancelled')),
  step text,
  progress smallint not null default 0 check (progress between 0 and 100),
  message text not null default '',
  tables_created integer not null default 0,
  total_tables integer not null default 0,
  server text,
  database text,
  source text,
  error jsonb,
  cancel_requested_at timestamptz,
  attempts integer not null default 0,
  fence integer not null default 0,
  owner text,
  leased_until timestamptz,
  due_at timestamptz not null default now(),
  revision bigint not null default 1,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  finished_at timestamptz,
  swept_at timestamptz,
  check ((state in ('active', 'failed', 'cancelled')) = (finished_at is not null)),
  check (finished_at is null or sealed_config is null)
) with (fillfactor = 70);

comment on table bulkhead.provisioning_jobs is
  'One row per database that is being made, or connected, for a tenant; kept when it has ended.';
comment on column bulkhead.provisioning_jobs.label is
  'What its owner calls the tenant; shown and seeded, never part of a name.';
comment on column bulkhead.provisioning_jobs.sealed_config is
  'How the database of an owner is reached, until the job has ended.';
comment on column bulkhead.provisioning_jobs.database is
  'The physical name; a name of this job alone where it is made, so that taking it back hits nobody.';
comment on column bulkhead.provisioning_jobs.source is
  'What it was made from: warm, template or statements.';
comment on column bulkhead.provisioning_jobs.swept_at is
  'When what a job that failed may have left was looked for once more.';

-- However many ask for it at once, a tenant is provisioned by one job.
create unique index provisioning_jobs_open on bulkhead.provisioning_jobs (tenant)
  where state in ('queued', 'running', 'undoing');
create index provisioning_jobs_due on bulkhead.provisioning_jobs (due_at)
  where state in ('queued', 'running', 'undoing');
create index provisioning_jobs_unswept on bulkhead.provisioning_jobs (finished_at)
  where state in ('failed', 'cancelled') and swept_at is null;
create index provisioning_jobs_tenant on bulkhead.provisioning_jobs (tenant, created_at);

create function bulkhead.note_provisioning()
returns trigger
language plpgsql
set search_path = ''
as $$
begin
  if tg_op = 'UPDATE' then
    new.revision := old.revision + 1;
    new.updated_at := pg_catalog.now();
  end if;
  perform pg_catalog.pg_notify('bulkhead_provisioning', new.id::text);
  return new;
end
$$;
create trigger note_change
  before insert
    or update of state, step, progress, message, tables_created, total_tables, cancel_requested_at
  on bulkhead.provisioning_jobs
  for each row execute function bulkhead.note_provisioning();

create table bulkhead.fleet_spares (
  name text primary key check (name <> ''),
  server text not null references bulkhead.fleet_servers (name),
  fleet text not null check (fleet <> ''),
  purpose text not null check (purpose in ('template', 'warm')),
  version integer not null,
  fingerprint text not null,
  state text not null default 'making' check (state in ('making', 'ready', 'dropping')),
  leased_until timestamptz not null,
  created_at timestamptz not null default now()
);
comment on table bulkhead.fleet_spares is
  'A database that no tenant has: a template to clone, or one that is kept ready. Written before it is made.';
comment on column bulkhead.fleet_spares.fingerprint is
  'Of the schema it was made with; one of another schema is given to nobody.';
comment on column bulkhead.fleet_spares.version is
  'Of that schema; those of older versions are dropped.';
create unique index fleet_spares_template on bulkhead.fleet_spares (server, fleet, fingerprint)
  where purpose = 'template' and state = 'ready';
create index fleet_spares_warm on bulkhead.fleet_spares (server, fleet, fingerprint)
  where purpose = 'warm' and state = 'ready';

alter table bulkhead.provisioning_jobs enable row level security;
alter table bulkhead.provisioning_jobs force row level security;
alter table bulkhead.fleet_spares enable row level security;
alter table bulkhead.fleet_spares force row level security;

-- migrate:down
drop table bulkhead.fleet_spares;
drop table bulkhead.provisioning_jobs;
drop function bulkhead.note_provisioning();
