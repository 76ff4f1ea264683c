-- The tree of categories, each knowing its path from the root, and curated collections.

create table public.categories (
  id uuid primary key default gen_random_uuid(),
  parent_id uuid references public.categories (id) on delete restrict,
  path uuid[] not null,
  depth integer not null generated always as (cardinality(path)) stored,
  slug text not null unique check (slug ~ '^[a-z0-9]+(-[a-z0-9]+)*$' and char_length(slug) <= 100),
  name text not null check (char_length(name) between 1 and 200),
  description text check (char_length(description) <= 5000),
  position integer not null default 0,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  check (depth <= 20)
);
comment on table public.categories is 'The tree in which products are filed.';
comment on column public.categories.path is
  'The ids from the root down to this category; path @> array[x] finds everything below x.';
create index categories_children on public.categories (parent_id, position, name);
create index categories_path on public.categories using gin (path);
create trigger categories_touch before update on public.categories
  for each row execute function private.touch_updated_at();

create function private.lock_category_tree() returns trigger
language plpgsql set search_path = ''
as $$
begin
  perform pg_advisory_xact_lock(hashtextextended('commerce.categories', 0));
  return null;
end
$$;
comment on function private.lock_category_tree() is
  'Trigger before statement: lets one transaction at a time shape the tree, so that no two moves,
each fine by itself, close a circle.';
create trigger categories_lock_tree before insert or update of parent_id on public.categories
  for each statement execute function private.lock_category_tree();

create function private.place_category() returns trigger
language plpgsql security definer set search_path = ''
as $$
declare
  above uuid[] := '{}';
begin
  if new.parent_id is not null then
    select c.path into above from public.categories c where c.id = new.parent_id;
    if new.parent_id = new.id or new.id = any (above) then
      raise exception 'category % cannot move below itself', new.id
        using errcode = 'check_violation', table = tg_table_name,
          constraint = 'categories_no_circle';
    end if;
  end if;
  new.path := coalesce(above, '{}') || new.id;
  return new;
end
$$;
comment on function private.place_category() is
  'Trigger before insert or move: derives the path and refuses a circle.';
create trigger categories_place before insert or update of parent_id on public.categories
  for each row execute function private.place_category();

create function private.move_subtree() returns trigger
language plpgsql security definer set search_path = ''
as $$
begin
  update public.categories
  set path = new.path || path[cardinality(old.path) + 1:]
  where path @> array[new.id]
    and id <> new.id;
  return null;
end
$$;
comment on function private.move_subtree() is
  'Trigger after a move: carries everything below along.';
create trigger categories_move_subtree after update of parent_id on public.categories
  for each row when (old.path is distinct from new.path) execute function private.move_subtree();

create table public.collections (
  id uuid primary key default gen_random_uuid(),
  slug text not null unique check (slug ~ '^[a-z0-9]+(-[a-z0-9]+)*$' and char_length(slug) <= 100),
  name text not null check (char_length(name) between 1 and 200),
  description text check (char_length(description) <= 5000),
  image_url text check (char_length(image_url) <= 2000),
  published_at timestamptz,
  position integer not null default 0,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);
comment on table public.collections is 'Groups of products put together by hand.';
create trigger collections_touch before update on public.collections
  for each row execute function private.touch_updated_at();

alter table public.categories enable row level security;
alter table public.categories force row level security;
alter table public.collections enable row level security;
alter table public.collections force row level security;

create policy derive_read on public.categories for select to current_user using (true);
create policy derive_path on public.categories for update to current_user
  using (true) with check (true);
create policy read_all on public.categories for select to anon, authenticated using (true);
create policy write_staff on public.categories for all to authenticated
  using ((select private.is_staff())) with check ((select private.is_staff()));
grant select on public.categories to anon, authenticated;
grant delete on public.categories to authenticated;
grant insert (id, parent_id, slug, name, description, position),
    update (parent_id, slug, name, description, position)
  on public.categories to authenticated;

create policy read_published on public.collections for select to anon, authenticated
  using (published_at <= now());
create policy write_staff on public.collections for all to authenticated
  using ((select private.is_staff())) with check ((select private.is_staff()));
grant select on public.collections to anon, authenticated;
grant delete on public.collections to authenticated;
grant insert (id, slug, name, description, image_url, published_at, position),
    update (slug, name, description, image_url, published_at, position)
  on public.collections to authenticated;

-- migrate:down
drop table public.collections;
drop table public.categories;
drop function private.move_subtree();
drop function private.place_category();
drop function private.lock_category_tree();
