-- What products are found by: one row for each that is for sale, kept up to date by triggers.
--
-- The row holds nothing that is not public, so that its policy is `true` and vanishes from the plan.
-- Behind any other policy the search could not use its indexes: @@ and @> are not leakproof.

create table public.product_search (
  product_id uuid primary key references public.products (id) on delete cascade,
  category_path uuid[] not null default '{}',
  brand text,
  document tsvector not null,
  title_key text not null,
  price_min public.money_amount not null,
  price_max public.money_amount not null,
  rating double precision not null,
  facts text[] not null default '{}',
  in_stock boolean not null default false,
  listed_at timestamptz not null,
  updated_at timestamptz not null default now()
);
comment on table public.product_search is
  'What lists and searches are made from: published products that have a variant to buy.';
comment on column public.product_search.category_path is
  'The ids of the category of the product and of all above it.';
comment on column public.product_search.document is
  'The weighted words: title, brand and SKUs A; category, variants and attributes B; description D.';
comment on column public.product_search.rating is
  'The mean rating as if five more reviews had given three stars: one review proves little.';
comment on column public.product_search.facts is
  'The values of the filterable attributes, each as code=value.';
comment on column public.product_search.in_stock is
  'Whether a variant can be sent now; kept by a trigger on stock when one runs out or comes back.';
create index product_search_document on public.product_search using gin (document);
create index product_search_categories on public.product_search using gin (category_path);
create index product_search_facts on public.product_search using gin (facts);
create index product_search_newest on public.product_search (listed_at desc, product_id desc);
create index product_search_price on public.product_search (price_min, product_id);
create index product_search_title on public.product_search (title_key, product_id);
create index product_search_rating on public.product_search (rating desc, product_id desc);
create index product_search_brand on public.product_search (brand, listed_at desc, product_id desc);

create table public.search_words (
  word text primary key,
  letters text not null
);
comment on table public.search_words is
  'The words of what is for sale, for correcting misspelt ones; a word that is no longer in use stays.';
comment on column public.search_words.letters is
  'The letters of the word in the order of the alphabet: the same for a word with two swapped.';
create index search_words_similar on public.search_words using gin (word extensions.gin_trgm_ops);
create index search_words_letters on public.search_words (letters);

create function private.sort_letters(p_word text) returns text
language sql immutable set search_path = ''
as $$
  select string_agg(c.letter, '' order by c.letter)
  from regexp_split_to_table(p_word, '') as c (letter)
$$;
comment on function private.sort_letters(text) is 'The letters of a word in the order of the alphabet.';

create function private.correct_words(p text[]) returns text
language sql stable security definer set search_path = ''
as $$
  select string_agg(c.word, ' ' order by a.place)
  from unnest(p) with ordinality as a (word, place)
  cross join lateral (
    select w.word
    from public.search_words w
    where w.word operator(extensions.%) a.word
      or w.letters = private.sort_letters(a.word)
    order by w.word = a.word desc, w.letters = private.sort_letters(a.word) desc,
      extensions.similarity(w.word, a.word) desc, w.word
    limit 1
  ) c
$$;
comment on function private.correct_words(text[]) is
  'The words of the catalogue that come next to the given ones, without those that resemble nothing.';
grant execute on function private.correct_words(text[]) to anon, authenticated, service_role;

create function private.refresh_in_stock(p uuid[]) returns void
language plpgsql set search_path = ''
as $$
begin
  -- Of two transactions that each sell the last unit of another variant, the second has to see what
  -- the first one left: the lock comes first, in a statement of its own.
  perform 1
  from public.product_search s
  where s.product_id = any (p)
  order by s.product_id
  for no key update;

  update public.product_search s
  set in_stock = not s.in_stock
  where s.product_id = any (p)
    and s.in_stock <> exists (
      select 1
      from public.product_variants v
      join public.stock k on k.variant_id = v.id
      where v.product_id = s.product_id
        and v.archived_at is null
        and k.available > 0
    );
end
$$;
comment on function private.refresh_in_stock(uuid[]) is
  'Note which of the products have a variant that can be sent now.';

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

  delete from public.product_search s
  where s.product_id = any (p)
    and not exists (
      select 1
      from public.products t
      join public.product_variants v on v.product_id = t.id
      where t.id = s.product_id
        and t.state = 'published'
        and v.archived_at is null
    );

  with parts as materialized (
    select t.id, t.language::regconfig as language, t.title, t.brand, t.description, t.created_at,
      (t.rating_sum + 15)::double precision / (t.rating_count + 5) as rating,
      coalesce(c.path, '{}') as path, v.skus, v.price_min, v.price_max,
      concat_ws(' ', c.names, v.titles, a.texts) as more, coalesce(a.facts, '{}') as facts
    from public.products t
    cross join lateral (
      select string_agg(r.sku, ' ' order by r.position, r.id) as skus,
        string_agg(nullif(r.title, ''), ' ' order by r.position, r.id) as titles,
        min(r.price) as price_min, max(r.price) as price_max
      from public.product_variants r
      where r.product_id = t.id
        and r.archived_at is null
    ) v
    left join lateral (
      select o.path, string_agg(n.name, ' ' order by n.depth) as names
      from public.categories o
      join public.categories n on n.id = any (o.path)
      where o.id = t.category_id
      group by o.path
    ) c on true
    left join lateral (
      select
        string_agg(w.text_value, ' ' order by w.text_value) filter (where b.searchable) as texts,
        array_agg(b.code || '=' || coalesce(w.text_value, trim_scale(w.number_value)::text,
          w.boolean_value::text, w.date_value::text) order by b.code) filter (where b.filterable)
          as facts
      from public.product_attribute_values w
      join public.product_attributes b on b.id = w.attribute_id
      where w.product_id = t.id
    ) a on true
    where t.id = any (p)
      and t.state = 'published'
      and v.price_min is not null
  ), spelt as (
    insert into public.search_words (word, letters)
    select w.word, private.sort_letters(w.word)
    from (
      select distinct l.word
      from parts t, unnest(tsvector_to_array(
        to_tsvector('simple', concat_ws(' ', t.title, t.brand, t.more)))) as l (word)
    ) w
    where w.word ~ '^[[:alpha:]]{3,40}$'
      and not exists (select 1 from public.search_words k where k.word = w.word)
    order by w.word
    on conflict (word) do nothing
  )
  insert into public.product_search as s (product_id, category_path, brand, document, title_key,
    price_min, price_max, rating, facts, listed_at)
  select t.id, t.path, t.brand,
    setweight(to_tsvector(t.language, t.title), 'A')
      || setweight(to_tsvector('simple', concat_ws(' ', t.brand, t.skus)), 'A')
      || setweight(to_tsvector(t.language, t.more), 'B')
      || setweight(to_tsvector(t.language, left(t.description, 10000)), 'D'),
    lower(t.title), t.price_min, t.price_max, t.rating, t.facts, t.created_at
  from parts t
  order by t.id
  on conflict (product_id) do update
  set category_path = excluded.category_path, brand = excluded.brand,
    document = excluded.document, title_key = excluded.title_key,
    price_min = excluded.price_min, price_max = excluded.price_max,
    rating = excluded.rating, facts = excluded.facts, listed_at = excluded.listed_at,
    updated_at = now()
  where (s.category_path, s.brand, s.document, s.title_key, s.price_min, s.price_max, s.rating,
      s.facts)
    is distinct from (excluded.category_path, excluded.brand, excluded.document,
      excluded.title_key, excluded.price_min, excluded.price_max, excluded.rating, excluded.facts);

  perform private.refresh_in_stock(p);
end
$$;
comment on function private.refresh_search(uuid[]) is
  'Write anew what the products are found by.';

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
    where (o.title, o.description, o.brand, o.language, o.category_id, o.state,
        o.rating_sum, o.rating_count)
      is distinct from (n.title, n.description, n.brand, n.language, n.category_id, n.state,
        n.rating_sum, n.rating_count);
  end if;
  if changed is not null then
    perform private.refresh_search(changed);
  end if;
  return null;
end
$$;
comment on function private.search_changed_products() is
  'Trigger after statement on products: refreshes what is found by something else now.';
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
  where (o.code, o.searchable, o.filterable) <> (n.code, n.searchable, n.filterable);
  if changed is not null then
    perform private.refresh_search(changed);
  end if;
  return null;
end
$$;
comment on function private.search_changed_attributes() is
  'Trigger after statement on attributes: refreshes what is found by something else now.';
create trigger product_attributes_search_updated after update on public.product_attributes
  referencing old table as old_rows new table as new_rows
  for each statement execute function private.search_changed_attributes();

create function private.list_changed_stock() returns trigger
language plpgsql security definer set search_path = ''
as $$
declare
  changed uuid[];
begin
  select array_agg(distinct v.product_id) into changed
  from new_stock n
  join old_stock o on o.variant_id = n.variant_id
  join public.product_variants v on v.id = n.variant_id
  where (o.available > 0) <> (n.available > 0);
  if changed is not null then
    perform private.refresh_in_stock(changed);
  end if;
  return null;
end
$$;
comment on function private.list_changed_stock() is
  'Trigger after statement on stock: notes the products of which a variant ran out or came back.';
create trigger stock_list_changed after update on public.stock
  referencing old table as old_stock new table as new_stock
  for each statement execute function private.list_changed_stock();

alter table public.product_search enable row level security;
alter table public.product_search force row level security;
alter table public.search_words enable row level security;
alter table public.search_words force row level security;

create policy derive on public.product_search for all to current_user using (true) with check (true);
create policy read_all on public.product_search for select to anon, authenticated using (true);
grant select on public.product_search to anon, authenticated;
create policy derive on public.search_words for all to current_user using (true) with check (true);

-- migrate:down
drop trigger stock_list_changed on public.stock;
drop function private.list_changed_stock();
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
drop function private.refresh_in_stock(uuid[]);
drop function private.correct_words(text[]);
drop function private.sort_letters(text);
drop table public.search_words;
drop table public.product_search;
