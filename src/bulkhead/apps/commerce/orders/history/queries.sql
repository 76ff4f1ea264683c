-- name: list_orders
-- A page of the orders that the asking role may see, newest first, as one JSON document.
select coalesce(jsonb_agg(o.order_json order by o.created_at desc, o.id desc), '[]')
from (
  select o.created_at, o.id, jsonb_build_object(
    'id', o.id,
    'order_number', o.order_number,
    'state', o.state,
    'total', o.total::text,
    'currency', o.currency,
    'items', (select count(*) from public.order_items i where i.order_id = o.id),
    'created_at', o.created_at
  ) as order_json
  from public.orders o
  where o.user_id = $1
    and ($2::timestamptz is null or (o.created_at, o.id) < ($2, $3::uuid))
  order by o.created_at desc, o.id desc
  limit $4
) o

-- name: get_order
-- One order with its lines, payment attempts, refunds and parcels, as one JSON document.
select jsonb_build_object(
  'id', o.id,
  'order_number', o.order_number,
  'state', o.state,
  'currency', o.currency,
  'items_total', o.items_total::text,
  'discount_total', o.discount_total::text,
  'tax_total', o.tax_total::text,
  'shipping_total', o.shipping_total::text,
  'total', o.total::text,
  'coupon_code', o.coupon_code,
  'shipping_address', o.shipping_address,
  'shipping_method', o.shipping_method,
  'end_reason', o.end_reason,
  'deadline_at', case when o.state = 'pending' then o.deadline_at end,
  'created_at', o.created_at,
  'confirmed_at', o.confirmed_at,
  'shipped_at', o.shipped_at,
  'delivered_at', o.delivered_at,
  'ended_at', o.ended_at,
  'items', (
    select jsonb_agg(jsonb_build_object(
      'line_number', i.line_number,
      'product_id', i.product_id,
      'variant_id', i.variant_id,
      'sku', i.sku,
      'title', i.title,
      'variant_title', i.variant_title,
      'unit_price', i.unit_price::text,
      'quantity', i.quantity,
      'line_total', i.line_total::text
    ) order by i.line_number)
    from public.order_items i
    where i.order_id = o.id
  ),
  'payment_attempts', (
    select coalesce(jsonb_agg(jsonb_build_object(
      'attempt_no', a.attempt_no,
      'state', a.state,
      'amount', a.amount::text,
      'decline_code', a.decline_code,
      'started_at', a.started_at,
      'settled_at', a.settled_at
    ) order by a.attempt_no), '[]')
    from public.payment_attempts a
    where a.order_id = o.id
  ),
  'refunds', (
    select coalesce(jsonb_agg(jsonb_build_object(
      'id', f.id,
      'amount', f.amount::text,
      'state', f.state,
      'reason', f.reason,
      'created_at', f.created_at
    ) order by f.created_at), '[]')
    from public.refunds f
    where f.order_id = o.id
  ),
  'shipments', (
    select coalesce(jsonb_agg(jsonb_build_object(
      'id', s.id,
      'carrier', s.carrier,
      'tracking_number', s.tracking_number,
      'state', s.state,
      'shipped_at', s.shipped_at,
      'delivered_at', s.delivered_at
    ) order by s.created_at), '[]')
    from public.shipments s
    where s.order_id = o.id
  )
)
from public.orders o
where o.id = $1

-- name: find_owner
-- Whose order it is, and how it stands, as far as the asking role may see it.
select user_id, state
from public.orders
where id = $1

-- name: move_order
-- Let an order that was paid for go on its way.
update public.orders o
set state = $2
where o.id = $1
  and o.state <> $2
returning o.user_id, o.order_number, (
  select array_agg(distinct i.product_id) from public.order_items i where i.order_id = o.id
) as products
