-- name: add_hold
-- Note what is to be taken from a limit; nothing when it was noted before.
insert into public.usage_holds (id, store_id, metric, period_start, amount, subject_id, value)
values ($1, $2, $3, $4, $5, $6, $7)
on conflict (id) do nothing
returning id

-- name: ensure_counter
-- A counter has a row before it is counted with.
insert into public.usage_counters (store_id, metric, period_start)
values ($1, $2, $3)
on conflict do nothing

-- name: take
-- Take from a limit; nothing when it does not allow so much. The row decides who comes first.
update public.usage_counters c
set held = c.held + greatest($4, 0),
  updated_at = now()
where c.store_id = $1
  and c.metric = $2
  and c.period_start = $3
  and (
    $4 <= 0
    or coalesce(
      (
        select c.used + c.held + $4 <= case $2
          when 'products' then coalesce(s.max_products, 2147483647)
          when 'orders' then coalesce(s.max_orders_per_month, 2147483647)
          when 'storage_bytes' then coalesce(s.max_storage_gb * 1000000000::bigint, 1::bigint << 62)
        end
        from public.subscriptions s
        where s.store_id = $1
          and s.status in ('active', 'trial')
      ),
      false
    )
  )
returning c.used

-- name: find_limit
-- What the plan of a store allows.
select plan_name, max_products, max_orders_per_month, max_storage_gb, max_api_calls_per_month
from public.subscriptions
where store_id = $1
  and status in ('active', 'trial')

-- name: settle
-- What was held is there, or gone: count it, on this day; each hold once.
with settled as (
  delete from public.usage_holds
  where id = any ($1::uuid[])
  returning store_id, metric, period_start, amount, value
), counted as (
  update public.usage_counters c
  set held = c.held - s.held,
    used = greatest(c.used + s.amount, 0),
    updated_at = now()
  from (
    select store_id, metric, period_start, sum(amount) as amount,
      sum(greatest(amount, 0)) as held
    from settled
    group by store_id, metric, period_start
  ) s
  where (c.store_id, c.metric, c.period_start) = (s.store_id, s.metric, s.period_start)
  returning c.store_id, c.metric, c.used
), shown as (
  update public.stores t
  set product_count = coalesce(c.products, t.product_count),
    order_count = t.order_count + c.orders,
    storage_used_bytes = coalesce(c.storage_bytes, t.storage_used_bytes),
    last_activity_at = now()
  from (
    select s.store_id,
      max(k.used) filter (where k.metric = 'products') as products,
      max(k.used) filter (where k.metric = 'storage_bytes') as storage_bytes,
      coalesce(
        (
          select sum(o.amount)
          from settled o
          where o.store_id = s.store_id
            and o.metric = 'orders'
        ),
        0
      ) as orders
    from (select distinct store_id from settled) s
    left join counted k on k.store_id = s.store_id
    group by s.store_id
  ) c
  where t.id = c.store_id
)
insert into public.usage_metrics as m
  (store_id, metric_date, products_created, products_deleted, total_products, orders_created,
  orders_total_value, storage_uploaded_bytes, storage_deleted_bytes, storage_total_bytes)
select s.store_id, private.today(),
  coalesce(sum(s.amount) filter (where s.metric = 'products' and s.amount > 0), 0),
  coalesce(-sum(s.amount) filter (where s.metric = 'products' and s.amount < 0), 0),
  coalesce((select max(k.used) from counted k
    where k.store_id = s.store_id and k.metric = 'products'), t.product_count),
  coalesce(sum(s.amount) filter (where s.metric = 'orders'), 0),
  coalesce(sum(s.value) filter (where s.metric = 'orders'), 0),
  coalesce(sum(s.amount) filter (where s.metric = 'storage_bytes' and s.amount > 0), 0),
  coalesce(-sum(s.amount) filter (where s.metric = 'storage_bytes' and s.amount < 0), 0),
  coalesce((select max(k.used) from counted k
    where k.store_id = s.store_id and k.metric = 'storage_bytes'), t.storage_used_bytes)
from settled s
join public.stores t on t.id = s.store_id
group by s.store_id, t.product_count, t.storage_used_bytes
on conflict (store_id, metric_date) do update
set products_created = m.products_created + excluded.products_created,
  products_deleted = m.products_deleted + excluded.products_deleted,
  total_products = excluded.total_products,
  orders_created = m.orders_created + excluded.orders_created,
  orders_total_value = m.orders_total_value + excluded.orders_total_value,
  storage_uploaded_bytes = m.storage_uploaded_bytes + excluded.storage_uploaded_bytes,
  storage_deleted_bytes = m.storage_deleted_bytes + excluded.storage_deleted_bytes,
  storage_total_bytes = excluded.storage_total_bytes,
  updated_at = now()

-- name: release
-- What was held came to nothing: give it back.
with released as (
  delete from public.usage_holds
  where id = any ($1::uuid[])
  returning store_id, metric, period_start, amount
)
update public.usage_counters c
set held = c.held - r.held,
  updated_at = now()
from (
  select store_id, metric, period_start, sum(greatest(amount, 0)) as held
  from released
  group by store_id, metric, period_start
) r
where (c.store_id, c.metric, c.period_start) = (r.store_id, r.metric, r.period_start)

-- name: take_stale
-- Take up holds whose writer must have ended, one way or the other; each goes to one sweep.
update public.usage_holds h
set checked_at = now()
from (
  select u.id
  from public.usage_holds u
  join public.stores s on s.id = u.store_id
  where u.created_at <= now() - make_interval(secs => $1)
    and coalesce(u.checked_at, u.created_at) <= now() - make_interval(secs => $1)
    and s.database_status = 'active'
  order by coalesce(u.checked_at, u.created_at), u.id
  limit $2
  for update of u skip locked
) due
where h.id = due.id
returning h.id, h.store_id, h.metric, h.amount, h.subject_id

-- name: count_update
-- Note that products were changed.
insert into public.usage_metrics as m (store_id, metric_date, products_updated)
values ($1, private.today(), $2)
on conflict (store_id, metric_date) do update
set products_updated = m.products_updated + excluded.products_updated,
  updated_at = now()

-- name: ensure_call_counters
-- Each of some stores has a counter of calls for this month.
insert into public.usage_counters (store_id, metric, period_start)
select s.id, 'api_calls', date_trunc('month', now() at time zone 'UTC')::date
from public.stores s
where s.id = any ($1::uuid[])
  and s.deleted_at is null
order by s.id
on conflict do nothing

-- name: lock_call_counters
-- What some stores may still call, locked in one order, with all that an answer depends on.
select c.store_id, c.used, c.period_start, now() as at, t.owner_id, t.database_status, t.currency,
  t.is_active, t.subscription_plan, t.subscription_status, s.id is not null as has_plan,
  s.max_api_calls_per_month
from public.usage_counters c
join public.stores t on t.id = c.store_id
left join public.subscriptions s on s.store_id = t.id and s.status in ('active', 'trial')
where c.store_id = any ($1::uuid[])
  and c.metric = 'api_calls'
  and c.period_start = date_trunc('month', now() at time zone 'UTC')::date
  and t.deleted_at is null
order by c.store_id
for update of c

-- name: count_calls
-- Count calls, and write them down, which is one thing.
with calls as (
  insert into public.api_usage_logs (id, store_id, endpoint, method, ip_address, user_agent)
  select c.id, c.store_id, c.endpoint, c.method, c.ip_address, c.user_agent
  from unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::inet[], $6::text[])
    as c (id, store_id, endpoint, method, ip_address, user_agent)
  returning store_id
), numbers as (
  select store_id, count(*) as calls
  from calls
  group by store_id
), counted as (
  update public.usage_counters c
  set used = c.used + n.calls,
    updated_at = now()
  from numbers n
  where c.store_id = n.store_id
    and c.metric = 'api_calls'
    and c.period_start = date_trunc('month', now() at time zone 'UTC')::date
)
insert into public.usage_metrics as m (store_id, metric_date, api_calls)
select n.store_id, private.today(), n.calls
from numbers n
order by n.store_id
on conflict (store_id, metric_date) do update
set api_calls = m.api_calls + excluded.api_calls,
  updated_at = now()

-- name: finish_calls
-- Write down how calls ended, each once; failures are counted on the day of the call.
with ended as (
  update public.api_usage_logs l
  set status_code = e.status_code,
    response_time_ms = e.ms,
    error_message = e.error
  from unnest($1::uuid[], $2::timestamptz[], $3::integer[], $4::integer[], $5::text[])
    as e (id, created_at, status_code, ms, error)
  where l.id = e.id
    and l.created_at = e.created_at
    and l.status_code is null
  returning l.store_id, (l.created_at at time zone 'UTC')::date as day, l.status_code
)
update public.usage_metrics m
set api_errors = m.api_errors + f.failures,
  updated_at = now()
from (
  select store_id, day, count(*) as failures
  from ended
  where status_code >= 400
  group by store_id, day
) f
where m.store_id = f.store_id
  and m.metric_date = f.day

-- name: show_calls
-- Let stores say how much they called this month.
update public.stores t
set api_calls_month = least(coalesce(c.used, 0), 2147483647)
from public.stores s
left join public.usage_counters c on c.store_id = s.id
  and c.metric = 'api_calls'
  and c.period_start = date_trunc('month', now() at time zone 'UTC')::date
where t.id = s.id
  and t.api_calls_month <> least(coalesce(c.used, 0), 2147483647)

-- name: miscounted_days
-- Days on which the number of calls is not that of the rows.
select format('usage_metrics.%s.%s', m.store_id, m.metric_date) as subject,
  format('counts %s calls, and there are %s', m.api_calls, l.calls) as detail
from public.usage_metrics m
left join lateral (
  select count(*) as calls
  from public.api_usage_logs a
  where a.store_id = m.store_id
    and a.created_at >= m.metric_date::timestamp at time zone 'UTC'
    and a.created_at < (m.metric_date + 1)::timestamp at time zone 'UTC'
) l on true
where m.metric_date >= private.today() - $1::integer
  and m.api_calls <> l.calls
limit 100

-- name: unbalanced_counters
-- Counters that hold another amount than what is being written.
select format('usage_counters.%s.%s', c.store_id, c.metric) as subject,
  format('holds %s, and %s is being written', c.held, coalesce(h.held, 0)) as detail
from public.usage_counters c
left join (
  select store_id, metric, period_start, sum(greatest(amount, 0)) as held
  from public.usage_holds
  group by store_id, metric, period_start
) h on (h.store_id, h.metric, h.period_start) = (c.store_id, c.metric, c.period_start)
where c.held <> coalesce(h.held, 0)
limit 100

-- name: list_usage
-- What a store used on each of the last days, as the asking role may see it.
select metric_date, products_created, products_updated, products_deleted, total_products,
  orders_created, orders_total_value, storage_uploaded_bytes, storage_deleted_bytes,
  storage_total_bytes, api_calls, api_errors
from public.usage_metrics
where store_id = $1
  and metric_date > private.today() - $2::integer
order by metric_date desc

-- name: list_counters
-- How much of its plan a store uses now.
select metric, used, held
from public.usage_counters
where store_id = $1
  and period_start in ('1970-01-01', date_trunc('month', now() at time zone 'UTC')::date)

-- name: ensure_partitions
-- Partitions for the calls of the coming months.
select private.ensure_api_usage_partitions($1)
