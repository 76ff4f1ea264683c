-- Profiles, addresses and preferences; signing up makes a profile with its preferences.

create table public.user_profiles (
  id uuid primary key references auth.users (id) on delete cascade,
  full_name text check (char_length(full_name) <= 200),
  display_name text check (char_length(display_name) <= 100),
  avatar_url text check (char_length(avatar_url) <= 2000),
  phone text check (phone ~ '^\+?[0-9 ()./-]{3,30}$'),
  birth_on date check (birth_on > '1900-01-01'),
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);
comment on table public.user_profiles is
  'What is known of a user beyond signing in; the id is the user id of all databases.';
create index user_profiles_newest on public.user_profiles (created_at desc, id desc);
create trigger user_profiles_touch before update on public.user_profiles
  for each row execute function private.touch_updated_at();

create table public.user_addresses (
  id uuid primary key default gen_random_uuid(),
  user_id uuid not null default auth.uid() references public.user_profiles (id) on delete cascade,
  kind text not null check (kind in ('shipping', 'billing')),
  is_default boolean not null default false,
  label text check (char_length(label) <= 60),
  recipient text not null check (char_length(recipient) between 1 and 200),
  company text check (char_length(company) <= 200),
  line1 text not null check (char_length(line1) between 1 and 200),
  line2 text check (char_length(line2) <= 200),
  city text not null check (char_length(city) between 1 and 100),
  region text check (char_length(region) <= 100),
  postal_code text check (char_length(postal_code) <= 20),
  country text not null check (country ~ '^[A-Z]{2}$'),
  phone text check (phone ~ '^\+?[0-9 ()./-]{3,30}$'),
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);
comment on table public.user_addresses is 'Where a user has goods and invoices sent.';
create index user_addresses_user on public.user_addresses (user_id, created_at desc, id desc);
create unique index user_addresses_one_default
  on public.user_addresses (user_id, kind) where is_default;
create trigger user_addresses_touch before update on public.user_addresses
  for each row execute function private.touch_updated_at();
create trigger user_addresses_keep_user before update on public.user_addresses
  for each row when (old.user_id is distinct from new.user_id)
  execute function private.refuse_change('user_id');

create function private.move_default_address() returns trigger
language plpgsql set search_path = ''
as $$
begin
  update public.user_addresses
  set is_default = false
  where user_id = new.user_id
    and kind = new.kind
    and is_default
    and id <> new.id;
  return new;
end
$$;
comment on function private.move_default_address() is
  'Trigger: a new default address takes the place of the former one of its kind.';
create trigger user_addresses_move_default
  before insert or update of is_default, kind on public.user_addresses
  for each row when (new.is_default) execute function private.move_default_address();

create table public.user_preferences (
  user_id uuid primary key references public.user_profiles (id) on delete cascade,
  language text not null default 'en' check (language ~ '^[a-z]{2,3}(-[A-Z]{2})?$'),
  currency text not null default 'EUR' check (currency ~ '^[A-Z]{3}$'),
  theme text not null default 'system' check (theme in ('light', 'dark', 'system')),
  order_mail boolean not null default true,
  marketing_mail boolean not null default false,
  settings jsonb not null default '{}'
    check (jsonb_typeof(settings) = 'object' and pg_column_size(settings) <= 16384),
  welcomed_at timestamptz,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);
comment on table public.user_preferences is 'How a user likes to shop and which mail is welcome.';
comment on column public.user_preferences.welcomed_at is
  'When the welcome mail was handed over; set once, by the service.';
create trigger user_preferences_touch before update on public.user_preferences
  for each row execute function private.touch_updated_at();

create function private.register_user() returns trigger
language plpgsql security definer set search_path = ''
as $$
begin
  insert into public.user_profiles (id, full_name, display_name, avatar_url)
  values (
    new.id,
    left(new.raw_user_meta_data ->> 'full_name', 200),
    left(new.raw_user_meta_data ->> 'display_name', 100),
    left(new.raw_user_meta_data ->> 'avatar_url', 2000)
  );
  insert into public.user_preferences (user_id) values (new.id);
  return new;
end
$$;
comment on function private.register_user() is
  'Trigger after insert on auth.users: makes profile and preferences in the same transaction.';
create trigger commerce_register_user after insert on auth.users
  for each row execute function private.register_user();

alter table public.user_profiles enable row level security;
alter table public.user_profiles force row level security;
alter table public.user_addresses enable row level security;
alter table public.user_addresses force row level security;
alter table public.user_preferences enable row level security;
alter table public.user_preferences force row level security;

create policy register on public.user_profiles for insert to current_user with check (true);
create policy read_own on public.user_profiles for select to authenticated
  using (id = (select auth.uid()));
create policy read_staff on public.user_profiles for select to authenticated
  using ((select private.is_staff()));
create policy update_own on public.user_profiles for update to authenticated
  using (id = (select auth.uid())) with check (id = (select auth.uid()));
grant select on public.user_profiles to authenticated;
grant update (full_name, display_name, avatar_url, phone, birth_on)
  on public.user_profiles to authenticated;

create policy read_own on public.user_addresses for select to authenticated
  using (user_id = (select auth.uid()));
create policy read_staff on public.user_addresses for select to authenticated
  using ((select private.is_staff()));
create policy insert_own on public.user_addresses for insert to authenticated
  with check (user_id = (select auth.uid()));
create policy update_own on public.user_addresses for update to authenticated
  using (user_id = (select auth.uid())) with check (user_id = (select auth.uid()));
create policy delete_own on public.user_addresses for delete to authenticated
  using (user_id = (select auth.uid()));
grant select, delete on public.user_addresses to authenticated;
grant insert (id, user_id, kind, is_default, label, recipient, company, line1, line2, city, region,
    postal_code, country, phone)
  on public.user_addresses to authenticated;
grant update (kind, is_default, label, recipient, company, line1, line2, city, region, postal_code,
    country, phone)
  on public.user_addresses to authenticated;

create policy register on public.user_preferences for insert to current_user with check (true);
create policy read_own on public.user_preferences for select to authenticated
  using (user_id = (select auth.uid()));
create policy update_own on public.user_preferences for update to authenticated
  using (user_id = (select auth.uid())) with check (user_id = (select auth.uid()));
grant select on public.user_preferences to authenticated;
grant update (language, currency, theme, order_mail, marketing_mail, settings)
  on public.user_preferences to authenticated;

-- migrate:down
drop trigger commerce_register_user on auth.users;
drop table public.user_preferences;
drop table public.user_addresses;
drop table public.user_profiles;
drop function private.register_user();
drop function private.move_default_address();
