-- name: create_registry
-- Makes the registry of migrations, and the table in which the Supabase CLI looks for them.
do $$
begin
  if to_regclass('bulkhead.migrations') is null then
    create table bulkhead.migrations (
      namespace text not null,
      version integer not null check (version > 0),
      name text not null,
      checksum text not null,
      up_sql text not null,
      down_sql text not null,
      applied_at timestamptz not null default now(),
      applied_by text not null default session_user,
      duration_ms integer not null,
      primary key (namespace, version)
    );
    alter table bulkhead.migrations enable row level security;
    alter table bulkhead.migrations force row level security;
    create policy migrations_owner on bulkhead.migrations
      to current_user using (true) with check (true);
    revoke insert, update, delete, truncate, references, trigger
      on bulkhead.migrations from service_role;
    comment on table bulkhead.migrations is 'Which migrations this database has had.';
  end if;
  if to_regclass('supabase_migrations.schema_migrations') is null then
    create table supabase_migrations.schema_migrations (
      version text primary key,
      statements text[],
      name text
    );
    alter table supabase_migrations.schema_migrations enable row level security;
    alter table supabase_migrations.schema_migrations force row level security;
    create policy schema_migrations_owner on supabase_migrations.schema_migrations
      to current_user using (true) with check (true);
    comment on table supabase_migrations.schema_migrations is
      'The migrations of the application, in the shape that the Supabase CLI has.';
  end if;
end
$$

-- name: has_registry
-- Whether the registry has been made.
select to_regclass('bulkhead.migrations') is not null

-- name: list_applied
-- Every migration that was applied, in the order of namespace and version.
select namespace, version, name, checksum, up_sql, down_sql, applied_at, applied_by, duration_ms
from bulkhead.migrations
order by namespace, version

-- name: list_labels
-- Every migration that was applied, by its name alone.
select namespace, version, name
from bulkhead.migrations
order by namespace, version

-- name: record
-- Notes that a migration was applied.
insert into bulkhead.migrations
  (namespace, version, name, checksum, up_sql, down_sql, duration_ms)
values ($1, $2, $3, $4, $5, $6, $7)

-- name: forget
-- Notes that a migration was rolled back.
delete from bulkhead.migrations
where namespace = $1
  and version = $2

-- name: mirror
-- Shows an applied migration to the Supabase CLI.
insert into supabase_migrations.schema_migrations (version, statements, name)
values ($1, $2, $3)
on conflict (version) do update set statements = excluded.statements, name = excluded.name

-- name: unmirror
-- Takes a migration back from the view of the Supabase CLI.
delete from supabase_migrations.schema_migrations
where version = $1
