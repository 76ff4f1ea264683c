-- References between databases: tombstones and fences of targets, violations and sweeps of sources.

create table bulkhead.tombstones (
  table_name text not null,
  key text not null,
  deleted_at timestamptz not null default now(),
  announced_at timestamptz,
  primary key (table_name, key)
);
comment on table bulkhead.tombstones is
  'A key of a table that other databases refer to, left by the transaction that deleted the row.';
comment on column bulkhead.tombstones.announced_at is
  'When the event was published that has the referring databases apply on_delete.';
create index tombstones_unannounced on bulkhead.tombstones (table_name, deleted_at)
  where announced_at is null;

create table bulkhead.deletion_fences (
  table_name text not null,
  key text not null,
  placed_at timestamptz not null default now(),
  primary key (table_name, key)
);
comment on table bulkhead.deletion_fences is
  'A row that is about to be deleted: no new reference to it passes the check on write.';

create table bulkhead.reference_violations (
  reference text not null,
  target_key text not null,
  source_key text not null,
  first_seen_at timestamptz not null default now(),
  last_seen_at timestamptz not null default now(),
  resolved_at timestamptz,
  resolution text
    check (resolution in ('vanished', 'set_null', 'deleted', 'recreated')),
  ignored_at timestamptz,
  reason text check ((reason is null) = (ignored_at is null)),
  primary key (reference, target_key, source_key),
  check ((resolution is null) = (resolved_at is null))
);
comment on table bulkhead.reference_violations is
  'A row of this database that refers to a row which neither exists elsewhere nor was deleted.';
create index reference_violations_open on bulkhead.reference_violations
  (reference, target_key, source_key) where resolved_at is null;

create table bulkhead.reference_sweeps (
  reference text primary key,
  fence integer not null default 1,
  path text not null,
  position text,
  rows_total bigint not null,
  rows_checked bigint not null default 0,
  orphans bigint not null default 0,
  tombstoned bigint not null default 0,
  started_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  completed_at timestamptz,
  last_complete_at timestamptz
);
comment on table bulkhead.reference_sweeps is
  'How far the present or last sweep of a reference got; position is the last key it has checked.';

alter table bulkhead.tombstones enable row level security;
alter table bulkhead.tombstones force row level security;
alter table bulkhead.deletion_fences enable row level security;
alter table bulkhead.deletion_fences force row level security;
alter table bulkhead.reference_violations enable row level security;
alter table bulkhead.reference_violations force row level security;
alter table bulkhead.reference_sweeps enable row level security;
alter table bulkhead.reference_sweeps force row level security;

-- The triggers below run as the owner.
create policy bury on bulkhead.tombstones to current_user using (true) with check (true);
create policy lift on bulkhead.deletion_fences to current_user using (true);

create function bulkhead.bury(name text, keys text[]) returns bigint
language plpgsql set search_path = ''
as $$
declare
  buried text[];
begin
  with new as (
    insert into bulkhead.tombstones (table_name, key)
    select bury.name, key from unnest(bury.keys) key
    on conflict (table_name, key) do nothing
    returning key
  )
  select array_agg(new.key) into buried from new;
  delete from bulkhead.deletion_fences f where f.table_name = bury.name and f.key = any (bury.keys);
  return coalesce(cardinality(buried), 0);
end
$$;
comment on function bulkhead.bury(text, text[]) is
  'Leaves tombstones for the keys of a table and lifts their fences; '
  'keys that have a tombstone are skipped. Also for a row that stays but counts as deleted.';

create function bulkhead.leave_tombstone() returns trigger
language plpgsql security definer set search_path = ''
as $$
declare
  keys text[];
begin
  if tg_level = 'ROW' then
    keys := array[to_jsonb(old) ->> tg_argv[0]];
  else
    execute format('select array_agg(%I::text) from gone', tg_argv[0]) into keys;
  end if;
  if keys is not null then
    perform bulkhead.bury(tg_table_name, keys);
  end if;
  return null;
end
$$;
comment on function bulkhead.leave_tombstone() is
  'Trigger after delete: leaves tombstones; its argument names the key column. For each row, or '
  'for each statement with "referencing old table as gone".';

create function bulkhead.demand_fence() returns trigger
language plpgsql security definer set search_path = ''
as $$
begin
  if not exists (
    select from bulkhead.deletion_fences f
    where f.table_name = tg_table_name and f.key = to_jsonb(old) ->> tg_argv[0]
  ) then
    raise exception 'a row of % may be referred to from another database', tg_table_name
      using errcode = 'BHR01', hint = 'Delete it with delete_target, which looks for references first.';
  end if;
  return old;
end
$$;
comment on function bulkhead.demand_fence() is
  'Trigger before delete for each row: refuses a row whose references were not checked first.';

-- migrate:down
drop function bulkhead.demand_fence();
drop function bulkhead.leave_tombstone();
drop function bulkhead.bury(text, text[]);
drop table bulkhead.reference_sweeps;
drop table bulkhead.reference_violations;
drop table bulkhead.deletion_fences;
drop table bulkhead.tombstones;
