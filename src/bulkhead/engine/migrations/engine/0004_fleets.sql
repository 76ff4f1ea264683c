-- Fleets: the servers on which tenants can be placed, and the tenants with their places.

create table bulkhead.fleet_servers (
  name text primary key check (name <> ''),
  kind text not null check (kind in ('postgresql', 'mysql', 'supabase-database')),
  address text not null,
  capacity integer not null check (capacity >= 0),
  connections_max integer not null check (connections_max > 0),
  labels jsonb not null default '{}' check (jsonb_typeof(labels) = 'object'),
  tenants integer not null default 0 check (tenants >= 0),
  draining_at timestamptz,
  generation bigint not null default 1,
  sealed_endpoint bytea,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);
comment on table bulkhead.fleet_servers is
  'A server that takes tenants, with what it can carry and what it is labelled with.';
comment on column bulkhead.fleet_servers.tenants is
  'How many tenants are placed on it; kept by a trigger, so that placing one locks the row.';
comment on column bulkhead.fleet_servers.draining_at is
  'Since when no tenant is placed on it any more.';
comment on column bulkhead.fleet_servers.sealed_endpoint is
  'The sealed connection of its administrator; null where settings name the server.';

create table bulkhead.fleet_tenants (
  id uuid primary key,
  fleet text not null check (fleet <> ''),
  kind text not null check (kind in ('postgresql', 'mysql', 'supabase-database')),
  server text references bulkhead.fleet_servers (name),
  database text not null check (database <> ''),
  role_prefix text,
  login_prefix text,
  sealed_connection bytea,
  state text not null default 'provisioning'
    check (state in ('provisioning', 'active', 'suspended', 'moving', 'deleting')),
  reason text,
  generation bigint not null default 1,
  schema_version integer not null default 0,
  schema_fingerprint text,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);
comment on table bulkhead.fleet_tenants is
  'A database of a fleet: where it is, how it is reached, which schema it has.';
comment on column bulkhead.fleet_tenants.sealed_connection is
  'How a database that its owner runs is reached, sealed for this row alone.';
comment on column bulkhead.fleet_tenants.generation is
  'Grows with every change, so that who has read an older one can tell.';

-- Two tenants of one database would share their data.
create unique index fleet_tenants_database on bulkhead.fleet_tenants (server, database)
  where server is not null;
create index fleet_tenants_fleet on bulkhead.fleet_tenants (fleet, schema_version, id);

create function bulkhead.note_tenant_change()
returns trigger
language plpgsql
set search_path = ''
as $$
begin
  if tg_op = 'UPDATE' then
    new.generation := old.generation + 1;
    new.updated_at := pg_catalog.now();
  end if;
  if tg_op <> 'INSERT' then
    perform pg_catalog.pg_notify('bulkhead_fleet', old.id::text);
  end if;
  if tg_op = 'DELETE' then
    return old;
  end if;
  return new;
end
$$;
create trigger note_change
  before insert or update or delete on bulkhead.fleet_tenants
  for each row execute function bulkhead.note_tenant_change();

create function bulkhead.count_server_tenants()
returns trigger
language plpgsql
set search_path = ''
as $$
begin
  if tg_op <> 'INSERT' and (tg_op = 'DELETE' or new.server is distinct from old.server) then
    update bulkhead.fleet_servers set tenants = tenants - 1 where name = old.server;
  end if;
  if tg_op <> 'DELETE' and (tg_op = 'INSERT' or new.server is distinct from old.server) then
    update bulkhead.fleet_servers set tenants = tenants + 1 where name = new.server;
  end if;
  return null;
end
$$;
create trigger count_tenants
  after insert or delete or update of server on bulkhead.fleet_tenants
  for each row execute function bulkhead.count_server_tenants();

alter table bulkhead.fleet_servers enable row level security;
alter table bulkhead.fleet_servers force row level security;
alter table bulkhead.fleet_tenants enable row level security;
alter table bulkhead.fleet_tenants force row level security;

-- migrate:down
drop table bulkhead.fleet_tenants;
drop function bulkhead.count_server_tenants();
drop function bulkhead.note_tenant_change();
drop table bulkhead.fleet_servers;
