-- name: is_loaded
-- Whether a product of the sample is there.
select exists (select 1 from public.products where id = $1)

-- name: insert_categories
-- The tree, parents first.
insert into public.categories (id, parent_id, slug, name, description, position)
select r.id, r.parent_id, r.slug, r.name, r.description, r.position
from jsonb_to_recordset($1::jsonb) as r (
  id uuid, parent_id uuid, slug text, name text, description text, position integer
)
order by r.parent_id is not null, r.position
on conflict do nothing

-- name: insert_attributes
-- What can be said of products.
insert into public.product_attributes (id, code, name, kind, unit, searchable, position)
select r.id, r.code, r.name, r.kind, r.unit, r.searchable, r.position
from jsonb_to_recordset($1::jsonb) as r (
  id uuid, code text, name text, kind text, unit text, searchable boolean, position integer
)
on conflict do nothing

-- name: insert_products
-- The products, not yet published, so that what they are found by is written once.
insert into public.products (id, slug, title, description, brand, category_id, created_at)
select r.id, r.slug, r.title, r.description, r.brand, r.category_id, r.created_at
from jsonb_to_recordset($1::jsonb) as r (
  id uuid, slug text, title text, description text, brand text, category_id uuid,
  created_at timestamptz
)
on conflict do nothing

-- name: insert_variants
-- Their variants.
insert into public.product_variants
  (id, product_id, sku, title, options, price, currency, compare_at_price, weight_grams, position)
select r.id, r.product_id, r.sku, r.title, r.options, r.price, 'EUR', r.compare_at_price,
  r.weight_grams, r.position
from jsonb_to_recordset($1::jsonb) as r (
  id uuid, product_id uuid, sku text, title text, options jsonb, price numeric,
  compare_at_price numeric, weight_grams integer, position integer
)
on conflict do nothing

-- name: insert_images
-- Their pictures.
insert into public.product_images (id, product_id, url, alt, width, height)
select r.id, r.product_id, r.url, r.alt, 800, 800
from jsonb_to_recordset($1::jsonb) as r (id uuid, product_id uuid, url text, alt text)
on conflict do nothing

-- name: insert_values
-- What is said of them.
insert into public.product_attribute_values
  (id, product_id, attribute_id, kind, text_value, number_value, boolean_value)
select r.id, r.product_id, r.attribute_id, r.kind, r.text_value, r.number_value, r.boolean_value
from jsonb_to_recordset($1::jsonb) as r (
  id uuid, product_id uuid, attribute_id uuid, kind text, text_value text, number_value numeric,
  boolean_value boolean
)
on conflict do nothing

-- name: receive_stock
-- What is on hand, as receipts.
select count(*)
from private.adjust_stock($1::jsonb)

-- name: insert_collections
-- The collections.
insert into public.collections (id, slug, name, description, published_at, position)
select r.id, r.slug, r.name, r.description, now(), r.position
from jsonb_to_recordset($1::jsonb) as r (
  id uuid, slug text, name text, description text, position integer
)
on conflict do nothing

-- name: insert_collection_products
-- What stands in the collections.
insert into public.collection_products (collection_id, product_id, position)
select r.collection_id, r.product_id, r.position
from jsonb_to_recordset($1::jsonb) as r (collection_id uuid, product_id uuid, position integer)
on conflict do nothing

-- name: insert_reviews
-- What customers say.
insert into public.product_reviews
  (id, product_id, user_id, author_name, rating, title, body, state, created_at)
select r.id, r.product_id, r.user_id, r.author_name, r.rating, r.title, r.body, r.state,
  r.created_at
from jsonb_to_recordset($1::jsonb) as r (
  id uuid, product_id uuid, user_id uuid, author_name text, rating smallint, title text, body text,
  state text, created_at timestamptz
)
on conflict do nothing

-- name: insert_votes
-- Whom that has helped.
insert into public.review_votes (review_id, user_id, helpful)
select r.review_id, r.user_id, r.helpful
from jsonb_to_recordset($1::jsonb) as r (review_id uuid, user_id uuid, helpful boolean)
on conflict do nothing

-- name: publish_products
-- Open the shop.
update public.products
set state = 'published'
where id = any ($1::uuid[])
  and state = 'draft'

-- name: list_known
-- Which of these e-mail addresses have an account.
select lower(email) as email
from auth.users
where lower(email) = any ($1::text[])

-- name: has_customers
-- Whether any of these e-mail addresses has an account.
select exists (select 1 from auth.users where lower(email) = any ($1::text[]))

-- name: insert_reviewers
-- People who have written reviews; they have no password.
insert into auth.users
  (id, aud, role, email, email_confirmed_at, raw_app_meta_data, raw_user_meta_data)
select r.id, 'authenticated', 'authenticated', r.email, now(), '{}',
  jsonb_build_object('full_name', r.name, 'display_name', r.name)
from jsonb_to_recordset($1::jsonb) as r (id uuid, email text, name text)
on conflict do nothing

-- name: insert_addresses
-- Where the customers live, by their e-mail addresses.
insert into public.user_addresses
  (id, user_id, kind, is_default, label, recipient, line1, city, postal_code, country)
select r.id, u.id, r.kind, true, 'Home', r.recipient, r.line1, r.city, r.postal_code, r.country
from jsonb_to_recordset($1::jsonb) as r (
  id uuid, email text, kind text, recipient text, line1 text, city text, postal_code text,
  country text
)
join auth.users u on lower(u.email) = r.email
on conflict do nothing

-- name: has_coupons
-- Whether any of these coupons is there.
select exists (select 1 from public.coupons where id = any ($1::uuid[]))

-- name: insert_coupons
-- Discount codes to try.
insert into public.coupons (id, code, description, kind, value, currency, min_total, max_discount,
  total_limit, per_user_limit)
select r.id, r.code, r.description, r.kind, r.value, r.currency, coalesce(r.min_total, 0),
  r.max_discount, r.total_limit, r.per_user_limit
from jsonb_to_recordset($1::jsonb) as r (
  id uuid, code text, description text, kind text, value numeric, currency text,
  min_total numeric, max_discount numeric, total_limit integer, per_user_limit integer
)
on conflict do nothing
