-- How stores are connected to databases and storage; what is secret of it stands sealed, apart.

create table public.integration_configs (
  id uuid primary key,
  store_id uuid not null references public.stores (id) on delete cascade,
  integration_type text not null check (
    integration_type in (
      'supabase-database', 'postgresql', 'mysql',
      'supabase-storage', 'google-cloud-storage', 'aws-s3'
    )
  ),
  purpose text not null generated always as (
    case
      when integration_type in ('supabase-database', 'postgresql', 'mysql') then 'database'
      else 'storage'
    end
  ) stored,
  is_active boolean not null default true,
  config_data jsonb not null default '{}'
    check (jsonb_typeof(config_data) = 'object' and pg_column_size(config_data) <= 16384),
  connection_status text not null default 'untested'
    check (connection_status in ('untested', 'working', 'failed')),
  last_error text check (char_length(last_error) <= 1000),
  tested_at timestamptz,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);
comment on table public.integration_configs is
  'What a store is connected to. config_data has what may be shown, never a secret.';
create unique index integration_configs_one_active
  on public.integration_configs (store_id, purpose) where is_active;
create index integration_configs_store on public.integration_configs (store_id);
create trigger integration_configs_touch before update on public.integration_configs
  for each row execute function private.touch_updated_at();

create table public.integration_secrets (
  integration_id uuid primary key references public.integration_configs (id) on delete cascade,
  store_id uuid not null references public.stores (id) on delete cascade,
  sealed_config bytea not null,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);
comment on table public.integration_secrets is
  'The secrets of a connection, sealed for this row. Those of databases stand in the registry of
tenants instead, which is where connections are opened from.';
create index integration_secrets_store on public.integration_secrets (store_id);
create trigger integration_secrets_touch before update on public.integration_secrets
  for each row execute function private.touch_updated_at();

create function private.follow_tenant() returns trigger
language plpgsql set search_path = ''
as $$
begin
  if tg_op = 'DELETE' then
    update public.stores
    set database_status = case database_status
      when 'provisioning' then 'failed'
      else 'deleted'
    end
    where id = old.id
      and database_status not in ('failed', 'deleted');
    return null;
  end if;
  update public.stores s
  set database_type = new.kind,
    database_status = new.state,
    database_name = new.database,
    database_host = coalesce(
      (
        select left(f.address, 255) from bulkhead.fleet_servers f
        where f.name = new.server and new.sealed_connection is null
      ),
      s.database_host
    )
  where s.id = new.id;
  return null;
end
$$;
comment on function private.follow_tenant() is
  'Trigger on the registry of tenants: a store says where its database is and how it stands.';
create trigger store_platform_follow after insert or update or delete on bulkhead.fleet_tenants
  for each row execute function private.follow_tenant();

create function private.follow_job() returns trigger
language plpgsql set search_path = ''
as $$
begin
  update public.stores
  set database_status = 'failed'
  where id = new.tenant
    and database_status = 'provisioning';
  return null;
end
$$;
comment on function private.follow_job() is
  'Trigger on provisioning jobs: a store learns that its job came to nothing.';
create trigger store_platform_follow after update of state on bulkhead.provisioning_jobs
  for each row when (new.state in ('failed', 'cancelled') and old.state <> new.state)
  execute function private.follow_job();

alter table public.integration_configs enable row level security;
alter table public.integration_configs force row level security;
alter table public.integration_secrets enable row level security;
alter table public.integration_secrets force row level security;

create policy read_visible on public.integration_configs for select to authenticated
  using (exists (select 1 from public.stores s where s.id = store_id));
grant select on public.integration_configs to authenticated;

-- migrate:down
drop trigger store_platform_follow on bulkhead.provisioning_jobs;
drop trigger store_platform_follow on bulkhead.fleet_tenants;
drop function private.follow_job();
drop function private.follow_tenant();
drop table public.integration_secrets;
drop table public.integration_configs;
