-- Who runs stores, the stores, and what the platform has set.

create table public.users (
  id uuid primary key references auth.users (id) on delete cascade,
  full_name text check (char_length(full_name) <= 200),
  company text check (char_length(company) <= 200),
  locale text not null default 'en' check (locale ~ '^[a-z]{2,3}(-[A-Z]{2})?$'),
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);
comment on table public.users is
  'Who runs stores, or the platform; the id is that of who signs in.';
create index users_newest on public.users (created_at desc, id desc);
create trigger users_touch before update on public.users
  for each row execute function private.touch_updated_at();

create function private.register_user() returns trigger
language plpgsql security definer set search_path = ''
as $$
begin
  insert into public.users (id, full_name, company)
  values (
    new.id,
    left(new.raw_user_meta_data ->> 'full_name', 200),
    left(new.raw_user_meta_data ->> 'company', 200)
  );
  return new;
end
$$;
comment on function private.register_user() is
  'Trigger after insert on auth.users: makes the user in the same transaction.';
create trigger store_platform_register_user after insert on auth.users
  for each row execute function private.register_user();

create table public.stores (
  id uuid primary key,
  name text not null check (char_length(name) between 1 and 255),
  slug text not null unique
    check (slug ~ '^[a-z0-9]+(-[a-z0-9]+)*$' and char_length(slug) between 3 and 63),
  owner_id uuid not null references public.users (id) on delete restrict,
  currency public.currency_code not null default 'USD',
  database_type text check (database_type in ('supabase-database', 'postgresql', 'mysql')),
  database_host text check (char_length(database_host) <= 255),
  database_name text check (char_length(database_name) <= 255),
  database_status text not null default 'none' check (
    database_status in (
      'none', 'provisioning', 'active', 'suspended', 'moving', 'deleting', 'deleted', 'failed'
    )
  ),
  storage_type text
    check (storage_type in ('supabase-storage', 'google-cloud-storage', 'aws-s3')),
  storage_status text not null default 'none'
    check (storage_status in ('none', 'active', 'suspended', 'failed')),
  subscription_plan public.plan_name not null default 'free',
  subscription_status text not null default 'active'
    check (subscription_status in ('active', 'trial', 'expired', 'cancelled')),
  trial_ends_at timestamptz,
  subscription_started_at timestamptz,
  product_count integer not null default 0 check (product_count >= 0),
  order_count integer not null default 0 check (order_count >= 0),
  storage_used_bytes bigint not null default 0 check (storage_used_bytes >= 0),
  api_calls_month integer not null default 0 check (api_calls_month >= 0),
  is_active boolean not null default true,
  is_published boolean not null default false,
  last_activity_at timestamptz,
  deleted_at timestamptz,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
) with (fillfactor = 80);
comment on table public.stores is
  'A store with its database, its plan and what it uses; its id is that of the tenant.';
comment on column public.stores.database_status is
  'Follows the registry of tenants and the provisioning jobs, by triggers.';
comment on column public.stores.product_count is
  'This and the other counts follow usage_counters, which decide what the plan allows.';
create index stores_owner on public.stores (owner_id, created_at desc, id desc);
create index stores_newest on public.stores (created_at desc, id desc);
create trigger stores_touch before update on public.stores
  for each row execute function private.touch_updated_at();
create trigger stores_keep_id before update on public.stores
  for each row when (old.id is distinct from new.id)
  execute function private.refuse_change('id');

create table public.platform_settings (
  name text primary key check (name ~ '^[a-z][a-z0-9_.]{0,99}$'),
  value jsonb not null check (pg_column_size(value) <= 65536),
  description text not null default '' check (char_length(description) <= 500),
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);
comment on table public.platform_settings is 'What the platform has set, by name; never a secret.';
create trigger platform_settings_touch before update on public.platform_settings
  for each row execute function private.touch_updated_at();

alter table public.users enable row level security;
alter table public.users force row level security;
alter table public.stores enable row level security;
alter table public.stores force row level security;
alter table public.platform_settings enable row level security;
alter table public.platform_settings force row level security;

create policy register on public.users for insert to current_user with check (true);
create policy read_own on public.users for select to authenticated
  using (id = (select auth.uid()));
create policy read_staff on public.users for select to authenticated
  using ((select private.is_staff()));
create policy update_own on public.users for update to authenticated
  using (id = (select auth.uid())) with check (id = (select auth.uid()));
grant select on public.users to authenticated;
grant update (full_name, company, locale) on public.users to authenticated;

create policy read_own on public.stores for select to authenticated
  using (owner_id = (select auth.uid()));
create policy read_staff on public.stores for select to authenticated
  using ((select private.is_staff()));
grant select on public.stores to authenticated;

create policy read_staff on public.platform_settings for select to authenticated
  using ((select private.is_staff()));
create policy insert_staff on public.platform_settings for insert to authenticated
  with check ((select private.is_staff()));
create policy update_staff on public.platform_settings for update to authenticated
  using ((select private.is_staff())) with check ((select private.is_staff()));
create policy delete_staff on public.platform_settings for delete to authenticated
  using ((select private.is_staff()));
grant select, delete on public.platform_settings to authenticated;
grant insert (name, value, description) on public.platform_settings to authenticated;
grant update (value, description) on public.platform_settings to authenticated;

-- migrate:down
drop table public.platform_settings;
drop table public.stores;
drop trigger store_platform_register_user on auth.users;
drop table public.users;
drop function private.register_user();
