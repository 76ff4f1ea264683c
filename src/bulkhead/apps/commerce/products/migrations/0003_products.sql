-- Products with their variants, images and typed attributes.

create table public.products (
  id uuid primary key default gen_random_uuid(),
  slug text not null unique check (slug ~ '^[a-z0-9]+(-[a-z0-9]+)*$' and char_length(slug) <= 150),
  title text not null check (char_length(title) between 1 and 300),
  description text not null default '' check (char_length(description) <= 20000),
  brand text check (char_length(brand) <= 200),
  language text not null default 'english' check (
    language in ('simple', 'danish', 'dutch', 'english', 'finnish', 'french', 'german', 'italian',
      'norwegian', 'portuguese', 'spanish', 'swedish')
  ),
  category_id uuid references public.categories (id) on delete restrict,
  state text not null default 'draft' check (state in ('draft', 'published', 'archived')),
  published_at timestamptz,
  tax_class text not null default 'standard' check (char_length(tax_class) between 1 and 60),
  rating_count integer not null default 0 check (rating_count >= 0),
  rating_sum integer not null default 0,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint products_ratings check (rating_sum between rating_count and 5 * rating_count)
);
comment on table public.products is 'What the shop sells; customers see the published ones.';
comment on column public.products.language is
  'The text search configuration of title and description.';
comment on column public.products.rating_sum is
  'The sum of the ratings of the approved reviews, kept by a trigger as rating_count is.';
create index products_newest on public.products (created_at desc, id desc);
create index products_category on public.products (category_id, created_at desc, id desc);
create index products_brand on public.products (brand, created_at desc, id desc);
create trigger products_touch before update on public.products
  for each row execute function private.touch_updated_at();

create function private.stamp_published() returns trigger
language plpgsql set search_path = ''
as $$
begin
  new.published_at := coalesce(new.published_at, now());
  return new;
end
$$;
comment on function private.stamp_published() is
  'Trigger: keeps when a product was first published.';
create trigger products_stamp_published before insert or update of state on public.products
  for each row when (new.state = 'published') execute function private.stamp_published();

create table public.collection_products (
  collection_id uuid not null references public.collections (id) on delete cascade,
  product_id uuid not null references public.products (id) on delete cascade,
  position integer not null default 0,
  created_at timestamptz not null default now(),
  primary key (collection_id, product_id)
);
comment on table public.collection_products is
  'Which products stand in a collection, in which order.';
create index collection_products_product on public.collection_products (product_id);

create table public.product_variants (
  id uuid primary key default gen_random_uuid(),
  product_id uuid not null references public.products (id) on delete cascade,
  sku text not null unique check (char_length(sku) between 1 and 100),
  title text not null default '' check (char_length(title) <= 200),
  options jsonb not null default '{}' check (jsonb_typeof(options) = 'object'),
  price public.money_amount not null check (price >= 0),
  currency public.currency_code not null,
  compare_at_price public.money_amount,
  barcode text check (char_length(barcode) <= 50),
  weight_grams integer check (weight_grams >= 0),
  position integer not null default 0,
  archived_at timestamptz,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  unique (id, product_id),
  constraint product_variants_compare_at_price check (compare_at_price > price)
);
comment on table public.product_variants is
  'What is put into the cart: a product in one size and colour, with its SKU and price.';
create index product_variants_product on public.product_variants (product_id, position, id);
create unique index product_variants_options
  on public.product_variants (product_id, options) where archived_at is null;
create trigger product_variants_touch before update on public.product_variants
  for each row execute function private.touch_updated_at();
create trigger product_variants_keep_product before update on public.product_variants
  for each row when (old.product_id is distinct from new.product_id)
  execute function private.refuse_change('product_id');

create table public.product_images (
  id uuid primary key default gen_random_uuid(),
  product_id uuid not null references public.products (id) on delete cascade,
  variant_id uuid,
  url text not null check (char_length(url) between 1 and 2000),
  alt text not null default '' check (char_length(alt) <= 500),
  width integer check (width > 0),
  height integer check (height > 0),
  position integer not null default 0,
  created_at timestamptz not null default now(),
  foreign key (variant_id, product_id)
    references public.product_variants (id, product_id) on delete cascade
);
comment on table public.product_images is 'Pictures of a product or of one of its variants.';
create index product_images_product on public.product_images (product_id, position, id);
create index product_images_variant on public.product_images (variant_id, product_id)
  where variant_id is not null;

create table public.product_attributes (
  id uuid primary key default gen_random_uuid(),
  code text not null unique check (code ~ '^[a-z][a-z0-9_]{0,59}$'),
  name text not null check (char_length(name) between 1 and 100),
  kind text not null check (kind in ('text', 'number', 'boolean', 'date')),
  unit text check (char_length(unit) <= 20),
  filterable boolean not null default true,
  searchable boolean not null default false,
  position integer not null default 0,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  unique (id, kind)
);
comment on table public.product_attributes is
  'What can be said of products, and of which type it is.';
create trigger product_attributes_touch before update on public.product_attributes
  for each row execute function private.touch_updated_at();

create table public.product_attribute_values (
  id uuid primary key default gen_random_uuid(),
  product_id uuid not null references public.products (id) on delete cascade,
  attribute_id uuid not null,
  kind text not null,
  text_value text check (char_length(text_value) between 1 and 500),
  number_value numeric check (number_value not in ('NaN', 'Infinity', '-Infinity')),
  boolean_value boolean,
  date_value date,
  created_at timestamptz not null default now(),
  foreign key (attribute_id, kind)
    references public.product_attributes (id, kind) on update cascade on delete cascade,
  constraint product_attribute_values_typed check (
    (text_value is not null) = (kind = 'text')
    and (number_value is not null) = (kind = 'number')
    and (boolean_value is not null) = (kind = 'boolean')
    and (date_value is not null) = (kind = 'date')
  ),
  constraint product_attribute_values_once unique nulls not distinct
    (product_id, attribute_id, text_value, number_value, boolean_value, date_value)
);
comment on table public.product_attribute_values is
  'What is said of a product: one typed value in each row, several rows for several values.';
create index product_attribute_values_attribute
  on public.product_attribute_values (attribute_id, kind);
create index product_attribute_values_text
  on public.product_attribute_values (attribute_id, text_value, product_id)
  where text_value is not null;
create index product_attribute_values_number
  on public.product_attribute_values (attribute_id, number_value, product_id)
  where number_value is not null;
create index product_attribute_values_boolean
  on public.product_attribute_values (attribute_id, boolean_value, product_id)
  where boolean_value is not null;
create index product_attribute_values_date
  on public.product_attribute_values (attribute_id, date_value, product_id)
  where date_value is not null;

alter table public.products enable row level security;
alter table public.products force row level security;
alter table public.collection_products enable row level security;
alter table public.collection_products force row level security;
alter table public.product_variants enable row level security;
alter table public.product_variants force row level security;
alter table public.product_images enable row level security;
alter table public.product_images force row level security;
alter table public.product_attributes enable row level security;
alter table public.product_attributes force row level security;
alter table public.product_attribute_values enable row level security;
alter table public.product_attribute_values force row level security;

-- migrate:down
drop table public.product_attribute_values;
drop table public.product_attributes;
drop table public.product_images;
drop table public.product_variants;
drop table public.collection_products;
drop table public.products;
drop function private.stamp_published();
