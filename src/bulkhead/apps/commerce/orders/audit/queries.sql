-- name: miscounted_coupons
-- Coupons whose counters are not the number of their claims, or that are used too often.
select format('coupons %s', c.code) as subject,
  format(
    'counts %s held and %s used, claims are %s and %s, allowed are %s',
    c.held_count, c.used_count, n.held, n.used, coalesce(c.total_limit::text, 'any number')
  ) as detail
from public.coupons c
cross join lateral (
  select count(*) filter (where u.state = 'held') as held,
    count(*) filter (where u.state = 'used') as used
  from public.coupon_usage u
  where u.coupon_id = c.id
) n
where c.held_count <> n.held
  or c.used_count <> n.used
  or n.held + n.used > c.total_limit
order by c.id

-- name: overused_coupons
-- Customers with more live claims on a coupon than it allows each of them.
select format('coupon_usage %s of %s', c.code, u.user_key) as subject,
  format('%s live claims, allowed are %s', count(*), c.per_user_limit) as detail
from public.coupon_usage u
join public.coupons c on c.id = u.coupon_id
where u.state in ('held', 'used')
  and c.per_user_limit is not null
group by c.id, u.user_key
having count(*) > c.per_user_limit
order by c.id, u.user_key

-- name: unbalanced_orders
-- Orders whose totals do not add up, or that were paid for with another amount than they cost.
select format('orders %s', o.order_number) as subject,
  format(
    'is %s and costs %s: lines are %s of %s, %s was captured',
    o.state, o.total, i.total, o.items_total, p.captured
  ) as detail
from public.orders o
cross join lateral (
  select coalesce(sum(i.line_total), 0) as total
  from public.order_items i
  where i.order_id = o.id
) i
cross join lateral (
  select coalesce(sum(p.amount), 0) as captured
  from public.payments p
  where p.order_id = o.id
) p
where o.items_total <> i.total
  or o.total <> o.items_total - o.discount_total + o.tax_total + o.shipping_total
  or p.captured > o.total
  or o.state in ('confirmed', 'shipped', 'delivered') and p.captured <> o.total
order by o.id

-- name: overpaid_refunds
-- Payments of which more went back than was captured, or whose count of it is wrong.
select format('payments %s', p.id) as subject,
  format(
    '%s was captured, %s is counted as refunded, refunds are %s',
    p.amount, p.refunded_amount, r.total
  ) as detail
from public.payments p
cross join lateral (
  select coalesce(sum(r.amount), 0) as total
  from public.refunds r
  where r.payment_id = p.id and r.state <> 'failed'
) r
where p.refunded_amount <> r.total
  or r.total > p.amount
order by p.id

-- name: unbooked_attempts
-- Attempts that succeeded without their one payment, and payments without their success.
select format('payment_attempts %s', coalesce(a.idempotency_key, p.order_id::text)) as subject,
  format(
    'attempt is %s over %s, payment is over %s',
    coalesce(a.state, 'missing'), coalesce(a.amount::text, 'nothing'),
    coalesce(p.amount::text, 'nothing')
  ) as detail
from (
  select order_id, attempt_no, idempotency_key, state, amount, currency
  from public.payment_attempts
  where state = 'succeeded'
) a
full join public.payments p on p.order_id = a.order_id and p.attempt_no = a.attempt_no
where a.order_id is null
  or p.id is null
  or p.amount <> a.amount
  or p.currency <> a.currency
order by subject

-- name: unprocessed_events
-- Events of payment companies that were noted and led to nothing.
select format('payment_events %s %s', provider, event_id) as subject,
  format('received at %s and not processed', received_at) as detail
from public.payment_events
where processed_at is null
  and received_at < now() - make_interval(secs => $1)
order by received_at

-- name: ordered_quantities
-- What orders that have rested for a while contain, by variant; a page in the order of their ids.
select o.id, o.order_number, o.state, o.confirmed_at is not null as was_confirmed,
  coalesce(
    (
      select jsonb_object_agg(l.variant_id, l.quantity)
      from (
        select i.variant_id, sum(i.quantity) as quantity
        from public.order_items i
        where i.order_id = o.id
        group by i.variant_id
      ) l
    ),
    '{}'
  ) as quantities
from public.orders o
where o.id > $1
  and o.updated_at < now() - make_interval(secs => $2)
order by o.id
limit $3

-- name: list_known
-- Those of the orders that exist, with their states.
select id, state
from public.orders
where id = any($1::uuid[])
