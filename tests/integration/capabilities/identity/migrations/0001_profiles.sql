-- Signing up makes a profile, in the same transaction, as an application would have it.
create table public.profiles (
  id uuid primary key references auth.users (id) on delete cascade,
  name text check (name <> 'refused')
);
alter table public.profiles enable row level security;
alter table public.profiles force row level security;
create policy register on public.profiles for insert to current_user with check (true);

create function private.register_user() returns trigger
language plpgsql security definer set search_path = ''
as $$
begin
  insert into public.profiles (id, name) values (new.id, new.raw_user_meta_data ->> 'name');
  return new;
end
$$;
create trigger register_user after insert on auth.users
  for each row execute function private.register_user();

-- migrate:down
drop trigger register_user on auth.users;
drop function private.register_user();
drop table public.profiles;
