-- name: forget_bought
-- Take what was bought out of carts, unless it was put there again since.
delete from public.shopping_cart c
using jsonb_to_recordset($1::jsonb) as b (user_id uuid, variant_id uuid)
where c.user_id = b.user_id
  and c.variant_id = b.variant_id

-- name: verify_purchases
-- Note that products were delivered, which makes reviews of them those of a buyer.
select private.verify_purchases($1::jsonb)
