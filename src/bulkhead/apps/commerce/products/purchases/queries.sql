-- name: lock_bought
-- Keep the rows of carts that hold what was bought as they are, in one order.
select c.variant_id
from public.shopping_cart c
where (c.user_id, c.variant_id) in (
    select b.user_id, b.variant_id
    from jsonb_to_recordset($1::jsonb) as b (user_id uuid, variant_id uuid)
  )
order by c.user_id, c.variant_id
for update

-- name: forget_bought
-- Take what this transaction has sold out of carts. What was put there again since it was ordered
-- stays; of a row that was changed since, only as many units go as were bought.
with bought as (
  select b.user_id, b.variant_id, sum(l.quantity) as quantity, max(r.created_at) as ordered_at
  from jsonb_to_recordset($1::jsonb) as b (order_id uuid, user_id uuid, variant_id uuid)
  join public.stock_reservations r on r.order_id = b.order_id
  join public.stock_reservation_lines l on l.order_id = b.order_id
    and l.variant_id = b.variant_id
  where r.state = 'committed'
    and r.updated_at = now()
  group by b.user_id, b.variant_id
), changed as (
  update public.shopping_cart c
  set quantity = c.quantity - b.quantity
  from bought b
  where c.user_id = b.user_id
    and c.variant_id = b.variant_id
    and c.created_at <= b.ordered_at
    and c.updated_at > b.ordered_at
    and c.quantity > b.quantity
)
delete from public.shopping_cart c
using bought b
where c.user_id = b.user_id
  and c.variant_id = b.variant_id
  and c.created_at <= b.ordered_at
  and (c.updated_at <= b.ordered_at or c.quantity <= b.quantity)

-- name: verify_purchases
-- Note that products were delivered, which makes reviews of them those of a buyer.
select private.verify_purchases($1::jsonb)
