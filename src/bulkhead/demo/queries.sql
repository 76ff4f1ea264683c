-- name: find_order
-- Any order at all.
select id
from public.orders
limit 1

-- name: insert_categories
-- One category for goods and one for what was charged besides.
insert into public.categories (id, slug, name, position)
select r.id, r.slug, r.name, r.position
from jsonb_to_recordset($1::jsonb) as r (id uuid, slug text, name text, position integer)
on conflict do nothing

-- name: insert_products
-- Products, not yet published, so that what they are found by is written once.
insert into public.products (id, slug, title, description, category_id)
select r.id, r.slug, r.title, r.description, r.category_id
from jsonb_to_recordset($1::jsonb) as r (
  id uuid, slug text, title text, description text, category_id uuid
)
on conflict do nothing

-- name: insert_variants
-- A variant for each price.
insert into public.product_variants
  (id, product_id, sku, title, options, price, currency, position)
select r.id, r.product_id, r.sku, r.title, jsonb_build_object('price', r.price::text), r.price,
  'GBP', r.position
from jsonb_to_recordset($1::jsonb) as r (
  id uuid, product_id uuid, sku text, title text, price numeric, position integer
)
on conflict do nothing

-- name: receive_stock
-- What will be needed, as receipts.
select count(*)
from private.adjust_stock($1::jsonb)

-- name: publish_products
-- Open the shop.
update public.products
set state = 'published'
where id = any ($1::uuid[])
  and state = 'draft'

-- name: insert_users
-- People with a confirmed address and no password: nobody can sign in as them.
insert into auth.users
  (id, aud, role, email, email_confirmed_at, raw_app_meta_data, raw_user_meta_data)
select r.id, 'authenticated', 'authenticated', r.email, now(),
  '{"provider": "email", "providers": ["email"]}', jsonb_build_object('full_name', r.name)
from jsonb_to_recordset($1::jsonb) as r (id uuid, email text, name text)
on conflict do nothing

-- name: insert_identities
-- That they would sign in by e-mail address.
insert into auth.identities (id, provider_id, user_id, identity_data, provider)
select r.identity_id, r.id::text, r.id,
  jsonb_build_object('sub', r.id::text, 'email', r.email, 'email_verified', true,
    'phone_verified', false),
  'email'
from jsonb_to_recordset($1::jsonb) as r (id uuid, identity_id uuid, email text)
on conflict do nothing

-- name: sum_orders
-- What was sold and not cancelled, by the month of the invoice and the country of delivery.
select substring(o.customer_note from ' of ([0-9]{4}-[0-9]{2})-') as month,
  o.shipping_address ->> 'country' as country, count(*) as orders, sum(i.units) as units,
  sum(i.revenue) as revenue, sum(o.total) as charged
from public.orders o
cross join lateral (
  select sum(t.quantity) as units, sum(t.line_total) as revenue
  from public.order_items t
  where t.order_id = o.id
) i
where o.state = 'confirmed'
group by month, country

-- name: count_states
-- How many orders there are in each state.
select state, count(*) as orders
from public.orders
group by state

-- name: sum_payments
-- What was paid and what of it was given back.
select coalesce(sum(p.amount), 0) as captured, coalesce(sum(p.refunded_amount), 0) as refunded,
  coalesce((select sum(r.amount) from public.refunds r where r.state = 'succeeded'), 0) as returned
from public.payments p

-- name: count_events
-- Events published here, deliveries received here, and deliveries still to be made from here.
select (select count(*) from bulkhead.events) as published,
  (select count(*) from bulkhead.inbox) as received,
  (select count(*) from bulkhead.deliveries) as waiting,
  (select count(*) from bulkhead.deliveries where dead_at is not null) as dead

-- name: count_unfinished_sagas
-- Sagas that are still at work.
select count(*) as unfinished
from bulkhead.sagas
where state in ('running', 'compensating')

-- name: list_charged
-- In the books of the local payment company: what it has charged.
select amount
from charges
where state = 'succeeded'

-- name: list_refunded
-- In the same books: what it has given back.
select amount
from refunds
