-- name: get_cart
-- The cart of the asking user with what has changed since, as the JSON body of the answer.
with lines as materialized (
  select c.variant_id, c.quantity, c.price_seen, c.currency_seen, c.created_at,
    r.id is not null as for_sale, r.sku, r.title, r.options, r.price, r.currency,
    coalesce(k.available, 0) as available, p.id as product_id, p.slug, p.title as product_title
  from public.shopping_cart c
  left join (
    public.product_variants r
    join public.products p on p.id = r.product_id and p.state = 'published'
  ) on r.id = c.variant_id and r.archived_at is null
  left join public.stock k on k.variant_id = r.id
  where c.user_id = (select auth.uid())
)
select json_build_object(
  'lines', coalesce(json_agg(json_build_object(
    'variant_id', l.variant_id,
    'quantity', l.quantity,
    'price', l.price::text,
    'currency', l.currency,
    'line_total', (l.price * l.quantity)::text,
    'price_seen', l.price_seen::text,
    'currency_seen', l.currency_seen,
    'available', l.available,
    'sku', l.sku,
    'title', l.title,
    'options', l.options,
    'product', case when l.for_sale then json_build_object(
      'id', l.product_id, 'slug', l.slug, 'title', l.product_title, 'image', (
        select json_build_object('url', i.url, 'alt', i.alt, 'width', i.width, 'height', i.height)
        from public.product_images i
        where i.product_id = l.product_id
        order by (i.variant_id = l.variant_id) is true desc, i.position, i.id
        limit 1
      )) end,
    'notices', to_json(array_remove(array[
      case when not l.for_sale then 'not_for_sale' end,
      case when l.for_sale and (l.price, l.currency) <> (l.price_seen, l.currency_seen)
        then 'price_changed' end,
      case when l.for_sale and l.available = 0 then 'sold_out' end,
      case when l.available between 1 and l.quantity - 1 then 'short_stock' end
    ], null))
  ) order by l.created_at, l.variant_id), '[]'),
  'quantity', coalesce(sum(l.quantity), 0),
  'totals', coalesce((
    select json_agg(json_build_object('currency', t.currency, 'amount', t.amount::text)
      order by t.currency)
    from (
      select currency, sum(price * quantity) as amount
      from lines
      where for_sale
      group by currency
    ) t
  ), '[]')
)::text
from lines l

-- name: add_to_cart
-- Put units of variants that are for sale into the cart; returns the variants that were.
insert into public.shopping_cart as c (user_id, variant_id, quantity)
select (select auth.uid()), w.variant_id, w.quantity
from unnest($1::uuid[], $2::integer[]) as w (variant_id, quantity)
join public.product_variants r on r.id = w.variant_id
join public.products p on p.id = r.product_id
where r.archived_at is null
  and p.state = 'published'
order by w.variant_id
on conflict (user_id, variant_id) do update
set quantity = least(c.quantity + excluded.quantity, $3)
returning variant_id

-- name: count_lines
-- How many variants are in the cart of the asking user.
select count(*)
from public.shopping_cart
where user_id = (select auth.uid())

-- name: set_quantity
-- Change how many units of a variant are wanted.
update public.shopping_cart
set quantity = $2
where user_id = (select auth.uid())
  and variant_id = $1
returning variant_id

-- name: accept_prices
-- Note the present prices as seen.
update public.shopping_cart c
set quantity = c.quantity
from public.product_variants r
where c.user_id = (select auth.uid())
  and r.id = c.variant_id
  and (r.price, r.currency) <> (c.price_seen, c.currency_seen)

-- name: remove_line
-- Take a variant out of the cart.
delete from public.shopping_cart
where user_id = (select auth.uid())
  and variant_id = $1
returning variant_id

-- name: clear_cart
-- Take everything out of the cart.
delete from public.shopping_cart
where user_id = (select auth.uid())

-- name: merge_cart
-- Move the cart of a guest into that of the user who signed in.
select private.merge_cart($1, $2)
