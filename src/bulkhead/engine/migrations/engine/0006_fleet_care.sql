-- Fleets: how far their migrations have come, what is being deleted, and what is being moved.

create table bulkhead.fleet_migration_runs (
  id uuid primary key,
  fleet text not null check (fleet <> ''),
  direction text not null check (direction in ('up', 'down')),
  target integer not null check (target >= 0),
  state text not null default 'running' check (state in ('running', 'stopped', 'done')),
  reason text,
  started_at timestamptz not null default now(),
  finished_at timestamptz,
  check ((state = 'running') = (finished_at is null))
);
comment on table bulkhead.fleet_migration_runs is
  'One row per migration of a fleet; of several processes that are at it, all work on the same.';
comment on column bulkhead.fleet_migration_runs.reason is
  'Why it was stopped, for people.';
create unique index fleet_migration_runs_open on bulkhead.fleet_migration_runs (fleet)
  where state = 'running';

create table bulkhead.fleet_migrations (
  tenant uuid primary key references bulkhead.fleet_tenants (id) on delete cascade,
  run uuid references bulkhead.fleet_migration_runs (id),
  direction text not null check (direction in ('up', 'down')),
  target integer not null check (target >= 0),
  state text not null check (state in ('running', 'done', 'failed')),
  attempts integer not null default 1,
  error jsonb,
  owner text not null,
  leased_until timestamptz not null,
  retry_at timestamptz,
  duration_ms integer,
  started_at timestamptz not null default now(),
  finished_at timestamptz
) with (fillfactor = 70);
comment on table bulkhead.fleet_migrations is
  'The last migration of each tenant that was not there already.';
comment on column bulkhead.fleet_migrations.retry_at is
  'When one that failed for a reason that passes is tried again by the same run.';
create index fleet_migrations_run on bulkhead.fleet_migrations (run, state);

create table bulkhead.fleet_deletions (
  tenant uuid primary key,
  fleet text not null,
  state text not null default 'waiting'
    check (state in ('waiting', 'exported', 'dropped')),
  reason text not null default '',
  purge_at timestamptz not null,
  archive text,
  manifest jsonb,
  attempts integer not null default 0,
  error jsonb,
  leased_until timestamptz,
  requested_at timestamptz not null default now(),
  finished_at timestamptz
);
comment on table bulkhead.fleet_deletions is
  'Tenants that were deleted: closed at once, exported and dropped when their time is over.';
comment on column bulkhead.fleet_deletions.archive is
  'Where the export is; the row stays when the tenant is gone.';
create index fleet_deletions_due on bulkhead.fleet_deletions (purge_at) where state <> 'dropped';

create table bulkhead.fleet_moves (
  id uuid primary key,
  tenant uuid not null,
  fleet text not null,
  source text not null,
  target text not null,
  database text not null,
  step text not null default 'started' check (
    step in ('started', 'schema', 'copying', 'fenced', 'flipped', 'verified', 'confirmed',
      'reverting', 'reverted')
  ),
  resume_state text not null check (resume_state in ('active', 'suspended')),
  error jsonb,
  fence_ms double precision,
  report jsonb,
  deadline_at timestamptz not null,
  alarmed_at timestamptz,
  leased_until timestamptz,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  finished_at timestamptz,
  check ((step in ('confirmed', 'reverted')) = (finished_at is not null))
);
comment on table bulkhead.fleet_moves is
  'Tenants that change their server; the old database stays, and follows, until it is confirmed.';
comment on column bulkhead.fleet_moves.deadline_at is
  'After that an unfinished move is taken back, and one that nobody confirmed is no longer followed.';
create unique index fleet_moves_open on bulkhead.fleet_moves (tenant) where finished_at is null;

alter table bulkhead.fleet_migration_runs enable row level security;
alter table bulkhead.fleet_migration_runs force row level security;
alter table bulkhead.fleet_migrations enable row level security;
alter table bulkhead.fleet_migrations force row level security;
alter table bulkhead.fleet_deletions enable row level security;
alter table bulkhead.fleet_deletions force row level security;
alter table bulkhead.fleet_moves enable row level security;
alter table bulkhead.fleet_moves force row level security;

-- migrate:down
drop table bulkhead.fleet_moves;
drop table bulkhead.fleet_deletions;
drop table bulkhead.fleet_migrations;
drop table bulkhead.fleet_migration_runs;
