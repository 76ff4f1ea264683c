-- Full-text search: one document for each product, kept up to date by triggers on all it is made of.

create table public.product_search (
  product_id uuid primary key references public.products (id) on delete cascade,
  published boolean not null,
  category_path uuid[] not null default '{}',
  document tsvector not null,
  words text not null,
  price_min numeric(12, 2),
  price_max numeric(12, 2),
  updated_at timestamptz not null default now()
);
comment on table public.product_search is
  'What is searched: a weighted document, and the same words in lower case for similarity.';
comment on column public.product_search.category_path is
  'The ids of the category of the product and of all above it.';
create index product_search_document on public.product_search using gin (document);
create index product_search_words on public.product_search
  using gin (words extensions.gin_trgm_ops);
create index product_search_categories on public.product_search using gin (category_path);
create index product_search_price on public.product_search (price_min, product_id) where published;

create function private.refresh_search(p uuid[]) returns void
language plpgsql set search_path = ''
as $$
begin
  -- Whoever changes another part of the same product at this moment has to see this change, or be
  -- seen: the lock comes first, in a statement of its own.
  perform 1
  from public.products t
  where t.id = any (p)
  order by t.id
  for no key update;

  insert into public.product_search as s
    (product_id, published, category_path, document, words, price_min, price_max)
  select t.id, t.state = 'published', coalesce(c.path, '{}'),
    setweight(to_tsvector(t.language::regconfig, t.title), 'A')
      || setweight(to_tsvector('simple', concat_ws(' ', t.brand, v.skus)), 'A')
      || setweight(to_tsvector(t.language::regconfig,
        concat_ws(' ', c.names, v.titles, a.texts)), 'B')
      || setweight(to_tsvector(t.language::regconfig, left(t.description, 10000)), 'D'),
    lower(left(concat_ws(' ', t.title, t.brand, v.skus, v.titles, c.names, a.texts), 2000)),
    v.price_min, v.price_max
  from public.products t
  left join lateral (
    select o.path, string_agg(n.name, ' ' order by n.depth) as names
    from public.categories o
    join public.categories n on n.id = any (o.path)
    where o.id = t.category_id
    group by o.path
  ) c on true
  left join lateral (
    select string_agg(r.sku, ' ' order by r.position, r.id) as skus,
      string_agg(nullif(r.title, ''), ' ' order by r.position, r.id) as titles,
      min(r.price) as price_min, max(r.price) as price_max
    from public.product_variants r
    where r.product_id = t.id
      and r.archived_at is null
  ) v on true
  left join lateral (
    select string_agg(w.text_value, ' ' order by w.text_value) as texts
    from public.product_attribute_values w
    join public.product_attributes b on b.id = w.attribute_id
    where w.product_id = t.id
      and b.searchable
  ) a on true
  where t.id = any (p)
  order by t.id
  on conflict (product_id) do update
  set published = excluded.published, category_path = excluded.category_path,
    document = excluded.document, words = excluded.words,
    price_min = excluded.price_min, price_max = excluded.price_max, updated_at = now()
  where (s.published, s.category_path, s.document, s.words, s.price_min, s.price_max)
    is distinct from (excluded.published, excluded.category_path, excluded.document,
      excluded.words, excluded.price_min, excluded.price_max);
end
$$;
comment on function private.refresh_search(uuid[]) is
  'Write the search documents of the products anew.';

create function private.search_changed_products() returns trigger
language plpgsql security definer set search_path = ''
as $$
declare
  changed uuid[];
begin
  if tg_op = 'INSERT' then
    select array_agg(n.id) into changed from new_rows n;
  else
    select array_agg(n.id) into changed
    from new_rows n
    join old_rows o on o.id = n.id
    where (o.title, o.description, o.brand, o.language, o.category_id, o.state)
      is distinct from (n.title, n.description, n.brand, n.language, n.category_id, n.state);
  end if;
  if changed is not null then
    perform private.refresh_search(changed);
  end if;
  return null;
end
$$;
comment on function private.search_changed_products() is
  'Trigger after statement on products: refreshes what has other words now.';
create trigger products_search_inserted after insert on public.products
  referencing new table as new_rows
  for each statement execute function private.search_changed_products();
create trigger products_search_updated after update on public.products
  referencing old table as old_rows new table as new_rows
  for each statement execute function private.search_changed_products();

create function private.search_changed_parts() returns trigger
language plpgsql security definer set search_path = ''
as $$
declare
  changed uuid[];
begin
  if tg_op = 'INSERT' then
    select array_agg(distinct n.product_id) into changed from new_rows n;
  elsif tg_op = 'DELETE' then
    select array_agg(distinct o.product_id) into changed from old_rows o;
  else
    select array_agg(distinct r.product_id) into changed
    from (select product_id from new_rows union select product_id from old_rows) r;
  end if;
  if changed is not null then
    perform private.refresh_search(changed);
  end if;
  return null;
end
$$;
comment on function private.search_changed_parts() is
  'Trigger after statement on variants and attribute values: refreshes the products they belong to.';
create trigger product_variants_search_inserted after insert on public.product_variants
  referencing new table as new_rows
  for each statement execute function private.search_changed_parts();
create trigger product_variants_search_updated after update on public.product_variants
  referencing old table as old_rows new table as new_rows
  for each statement execute function private.search_changed_parts();
create trigger product_variants_search_deleted after delete on public.product_variants
  referencing old table as old_rows
  for each statement execute function private.search_changed_parts();
create trigger attribute_values_search_inserted after insert on public.product_attribute_values
  referencing new table as new_rows
  for each statement execute function private.search_changed_parts();
create trigger attribute_values_search_updated after update on public.product_attribute_values
  referencing old table as old_rows new table as new_rows
  for each statement execute function private.search_changed_parts();
create trigger attribute_values_search_deleted after delete on public.product_attribute_values
  referencing old table as old_rows
  for each statement execute function private.search_changed_parts();

create function private.search_changed_categories() returns trigger
language plpgsql security definer set search_path = ''
as $$
declare
  changed uuid[];
begin
  select array_agg(t.id) into changed
  from new_rows n
  join old_rows o on o.id = n.id
  join public.categories c on c.path @> array[n.id]
  join public.products t on t.category_id = c.id
  where (o.name, o.path) is distinct from (n.name, n.path);
  if changed is not null then
    perform private.refresh_search(changed);
  end if;
  return null;
end
$$;
comment on function private.search_changed_categories() is
  'Trigger after statement on categories: refreshes every product filed below.';
create trigger categories_search_updated after update on public.categories
  referencing old table as old_rows new table as new_rows
  for each statement execute function private.search_changed_categories();

create function private.search_changed_attributes() returns trigger
language plpgsql security definer set search_path = ''
as $$
declare
  changed uuid[];
begin
  select array_agg(distinct w.product_id) into changed
  from new_rows n
  join old_rows o on o.id = n.id
  join public.product_attribute_values w on w.attribute_id = n.id
  where o.searchable <> n.searchable;
  if changed is not null then
    perform private.refresh_search(changed);
  end if;
  return null;
end
$$;
comment on function private.search_changed_attributes() is
  'Trigger after statement on attributes: refreshes what became searchable or no longer is.';
create trigger product_attributes_search_updated after update on public.product_attributes
  referencing old table as old_rows new table as new_rows
  for each statement execute function private.search_changed_attributes();

alter table public.product_search enable row level security;
alter table public.product_search force row level security;

create policy derive on public.product_search for all to current_user using (true) with check (true);
create policy read_published on public.product_search for select to anon, authenticated
  using (published);
create policy read_staff on public.product_search for select to authenticated
  using ((select private.is_staff()));
grant select on public.product_search to anon, authenticated;

-- migrate:down
drop trigger product_attributes_search_updated on public.product_attributes;
drop trigger categories_search_updated on public.categories;
drop trigger attribute_values_search_deleted on public.product_attribute_values;
drop trigger attribute_values_search_updated on public.product_attribute_values;
drop trigger attribute_values_search_inserted on public.product_attribute_values;
drop trigger product_variants_search_deleted on public.product_variants;
drop trigger product_variants_search_updated on public.product_variants;
drop trigger product_variants_search_inserted on public.product_variants;
drop trigger products_search_updated on public.products;
drop trigger products_search_inserted on public.products;
drop function private.search_changed_attributes();
drop function private.search_changed_categories();
drop function private.search_changed_parts();
drop function private.search_changed_products();
drop function private.refresh_search(uuid[]);
drop table public.product_search;
