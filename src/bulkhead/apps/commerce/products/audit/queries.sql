-- name: miscounted_stock
-- Variants whose stock is not the sum of its movements, or is promised otherwise than held.
select format('stock %s', s.variant_id) as subject,
  format(
    'has %s, movements sum up to %s; promises %s, orders hold %s',
    s.on_hand, m.total, s.reserved, h.total
  ) as detail
from public.stock s
cross join lateral (
  select coalesce(sum(m.quantity), 0) as total
  from public.inventory_movements m
  where m.variant_id = s.variant_id
) m
cross join lateral (
  select coalesce(sum(l.quantity), 0) as total
  from public.stock_reservation_lines l
  join public.stock_reservations r on r.order_id = l.order_id
  where l.variant_id = s.variant_id and r.state = 'held'
) h
where s.on_hand <> m.total
  or s.reserved <> h.total
  or s.reserved > s.on_hand
order by s.variant_id

-- name: held_and_sold
-- What some orders hold, sold and gave back, by variant.
select o.order_id as id,
  coalesce(r.state, 'missing') as state,
  coalesce(
    (
      select jsonb_object_agg(l.variant_id, l.quantity)
      from public.stock_reservation_lines l
      where l.order_id = o.order_id
    ),
    '{}'
  ) as held,
  coalesce(
    (
      select jsonb_object_agg(m.variant_id, m.quantity)
      from (
        select variant_id, -sum(quantity) as quantity
        from public.inventory_movements
        where order_id = o.order_id and reason in ('sale', 'cancel')
        group by variant_id
        having sum(quantity) <> 0
      ) m
    ),
    '{}'
  ) as sold
from unnest($1::uuid[]) as o (order_id)
left join public.stock_reservations r on r.order_id = o.order_id

-- name: overdue_holds
-- Orders whose hold on stock has run out some time ago and was not given back.
select order_id
from public.stock_reservations
where state = 'held'
  and expires_at < now() - make_interval(secs => $1)
order by expires_at
limit $2
