-- name: quote_variants
-- The present price of variants, as far as the asking role may see them.
select v.id as variant_id, v.product_id, v.sku, p.title as product_title, v.title as variant_title,
  v.price, v.currency, s.available
from public.product_variants v
join public.products p on p.id = v.product_id
left join public.stock s on s.variant_id = v.id
where v.id = any($1::uuid[])

-- name: list_cart_lines
-- What stands in the cart of the asking user.
select variant_id, quantity
from public.shopping_cart
where user_id = (select auth.uid())
order by variant_id
