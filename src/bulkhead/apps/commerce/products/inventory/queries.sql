-- name: reserve_stock
-- Hold the lines of many orders, each in full or not at all.
select order_id, state, short
from private.reserve_stock($1::jsonb)

-- name: release_stock
-- Give back what orders hold, and make sure that they never hold it later.
select order_id, state
from private.release_stock($1::uuid[], $2)

-- name: commit_stock
-- Take what orders hold out of stock for good.
select order_id, state
from private.commit_stock($1::uuid[])

-- name: restock
-- Put units of cancelled or returned orders back into stock.
select count(*)
from private.restock($1::jsonb)

-- name: adjust_stock
-- Correct what is on hand, and keep why.
select movement_id, variant_id, applied, on_hand, available
from private.adjust_stock($1::jsonb)

-- name: list_expired
-- Orders whose hold has run out.
select order_id
from private.list_expired_reservations($1)
