-- name: find_coupon
-- A coupon by its code, as far as it could be used now.
select id, code, kind, value, min_total, max_discount, currency
from public.coupons
where lower(code) = lower($1)
  and disabled_at is null
  and starts_at <= now()
  and (ends_at is null or ends_at > now())

-- name: open_orders
-- Write pending orders with their items, first payment attempts and coupon claims.
select order_id, state, code, summary
from private.open_orders($1::jsonb)

-- name: settle_orders
-- Take in what providers report about payment attempts.
select order_id, attempt_no, state, attempt_state, changed, refund_id, summary
from private.settle_orders($1::jsonb)

-- name: start_attempts
-- Begin another payment attempt for pending orders.
select order_id, code, attempt_no, idempotency_key, amount, currency
from private.start_attempts($1::jsonb)

-- name: cancel_orders
-- End orders that have not been sent.
select order_id, state, state_before, changed, refund_id, refund_amount
from private.cancel_orders($1::jsonb)

-- name: void_attempts
-- Close attempts under whose keys nothing can be charged any more.
update public.payment_attempts a
set state = 'voided', settled_at = now()
from unnest($1::uuid[], $2::integer[]) as v (order_id, attempt_no)
where a.order_id = v.order_id
  and a.attempt_no = v.attempt_no
  and a.state in ('started', 'unknown')

-- name: list_variants
-- The variants of orders.
select order_id, array_agg(distinct variant_id) as variants
from public.order_items
where order_id = any($1::uuid[])
group by order_id

-- name: list_cancelled
-- What the rest of the application is told about orders that ended unsent.
select o.id, o.user_id, o.order_number, o.end_reason, o.confirmed_at is not null as was_confirmed,
  (
    select jsonb_agg(jsonb_build_array(l.variant_id, l.quantity) order by l.variant_id)
    from (
      select i.variant_id, sum(i.quantity) as quantity
      from public.order_items i
      where i.order_id = o.id
      group by i.variant_id
    ) l
  ) as lines
from public.orders o
where o.id = any($1::uuid[])

-- name: lock_overdue
-- Keep pending orders past their deadline as they are, those whose payment is not being made. An
-- order that is locked is being paid for or ended at this moment.
select o.id
from public.orders o
where o.state = 'pending'
  and o.deadline_at < now()
  and not exists (
    select 1
    from public.payment_attempts a
    where a.order_id = o.id and a.state in ('started', 'unknown')
  )
order by o.deadline_at
limit $1
for no key update of o skip locked

-- name: list_unpaid
-- Those of these locked orders whose payment is not being made.
select o.id
from public.orders o
where o.id = any($1::uuid[])
  and not exists (
    select 1
    from public.payment_attempts a
    where a.order_id = o.id and a.state in ('started', 'unknown')
  )

-- name: list_holding
-- Which of these orders may still need the stock they hold.
select o.id
from public.orders o
where o.id = any($1::uuid[])
  and (
    o.state in ('confirmed', 'shipped', 'delivered')
    or exists (
      select 1
      from public.payment_attempts a
      where a.order_id = o.id and a.state in ('started', 'unknown')
    )
  )
