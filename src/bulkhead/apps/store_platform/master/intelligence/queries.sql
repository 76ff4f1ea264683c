-- name: list_stores
-- Stores whose database can be read, a page by id.
select s.id
from public.stores s
where s.database_status = 'active'
  and s.deleted_at is null
  and s.id > $1
order by s.id
limit $2

-- name: ensure_state
-- How far a store is rolled up. No two beginnings are the same, so that whoever has begun before
-- its state was forgotten writes nothing after it has begun again.
insert into public.rollup_states as r (store_id, read_until)
values ($1, timestamptz '2000-01-01 00:00:00+00' + random() * interval '1 day')
on conflict (store_id) do update
set read_until = r.read_until
returning read_until

-- name: advance_state
-- A store is rolled up until an instant of its clock; nothing when somebody else was faster.
update public.rollup_states
set read_until = $3,
  failed_at = null,
  failure = null,
  updated_at = now()
where store_id = $1
  and read_until = $2
returning store_id

-- name: note_failure
-- A store could not be read.
insert into public.rollup_states as r (store_id, read_until, failed_at, failure)
values ($1, timestamptz '2000-01-01 00:00:00+00' + random() * interval '1 day', now(),
  left($2, 500))
on conflict (store_id) do update
set failed_at = now(),
  failure = excluded.failure,
  updated_at = now()

-- name: clear_days
-- Forget what was known of some days of a store, to be written anew.
delete from public.store_analytics
where store_id = $1
  and day = any ($2::date[])

-- name: forget_days
-- Forget every day of a store.
delete from public.store_analytics
where store_id = $1

-- name: forget_state
-- A store is to be rolled up from its beginning; whoever is at it has read what is no more.
delete from public.rollup_states
where store_id = $1

-- name: add_days
-- What a store sold on some days; revenue ends where the column does.
insert into public.store_analytics
  (store_id, day, currency, orders, orders_cancelled, items_sold, revenue, customers)
select $1, d.day, d.currency, d.orders, d.cancelled, d.items, least(d.revenue, 999999999999.99),
  d.customers
from unnest($2::date[], $3::text[], $4::integer[], $5::integer[], $6::integer[], $7::numeric[],
  $8::integer[]) as d (day, currency, orders, cancelled, items, revenue, customers)

-- name: sum_usage
-- What all stores used on each of the last days, written anew.
insert into public.usage_statistics as u
  (day, stores_active, products_created, products_deleted, orders_created,
  storage_uploaded_bytes, api_calls, api_errors)
select metric_date, count(*), sum(products_created), sum(products_deleted), sum(orders_created),
  sum(storage_uploaded_bytes), sum(api_calls), sum(api_errors)
from public.usage_metrics
where metric_date > private.today() - $1::integer
group by metric_date
on conflict (day) do update
set stores_active = excluded.stores_active,
  products_created = excluded.products_created,
  products_deleted = excluded.products_deleted,
  orders_created = excluded.orders_created,
  storage_uploaded_bytes = excluded.storage_uploaded_bytes,
  api_calls = excluded.api_calls,
  api_errors = excluded.api_errors,
  updated_at = now()

-- name: sum_revenue
-- What was invoiced in each of the last months, written anew.
insert into public.revenue_reports as r
  (month, plan_name, currency, invoices, invoiced, collected, failed, refunded)
select date_trunc('month', b.created_at at time zone 'UTC')::date, s.plan_name, b.currency,
  count(*), sum(b.amount),
  coalesce(sum(b.amount) filter (where b.status = 'completed'), 0),
  coalesce(sum(b.amount) filter (where b.status = 'failed'), 0),
  coalesce(sum(b.amount) filter (where b.status = 'refunded'), 0)
from public.billing_transactions b
join public.subscriptions s on s.id = b.subscription_id
where b.created_at >= (date_trunc('month', now() at time zone 'UTC')
  - make_interval(months => $1)) at time zone 'UTC'
group by 1, 2, 3
on conflict (month, plan_name, currency) do update
set invoices = excluded.invoices,
  invoiced = excluded.invoiced,
  collected = excluded.collected,
  failed = excluded.failed,
  refunded = excluded.refunded,
  updated_at = now()

-- name: sum_performance
-- How fast the stores' API answered on each of the last days, written anew.
insert into public.performance_metrics as p (store_id, day, calls, errors, p50_ms, p95_ms, p99_ms)
select store_id, (created_at at time zone 'UTC')::date, count(*),
  count(*) filter (where status_code >= 400),
  percentile_cont(0.5) within group (order by response_time_ms)::integer,
  percentile_cont(0.95) within group (order by response_time_ms)::integer,
  percentile_cont(0.99) within group (order by response_time_ms)::integer
from public.api_usage_logs
where created_at >= (private.today() - ($1::integer - 1))::timestamp at time zone 'UTC'
  and response_time_ms is not null
group by 1, 2
on conflict (store_id, day) do update
set calls = excluded.calls,
  errors = excluded.errors,
  p50_ms = excluded.p50_ms,
  p95_ms = excluded.p95_ms,
  p99_ms = excluded.p99_ms,
  updated_at = now()

-- name: list_analytics
-- What a store sold on each of the last days, as the asking role may see it.
select day, currency, orders, orders_cancelled, items_sold, revenue, average_order_value,
  customers, rolled_up_at
from public.store_analytics
where store_id = $1
  and day > private.today() - $2::integer
order by day desc, currency

-- name: list_performance
-- How fast the API of a store answered on each of the last days, as the asking role may see it.
select day, calls, errors, p50_ms, p95_ms, p99_ms
from public.performance_metrics
where store_id = $1
  and day > private.today() - $2::integer
order by day desc

-- name: list_revenue
-- What the platform invoiced, by month; for staff.
select month, plan_name, currency, invoices, invoiced, collected, failed, refunded
from public.revenue_reports
where month > private.today() - make_interval(months => $1)
order by month desc, plan_name, currency

-- name: list_statistics
-- What all stores used, by day; for staff.
select day, stores_active, products_created, products_deleted, orders_created,
  storage_uploaded_bytes, api_calls, api_errors
from public.usage_statistics
order by day desc
limit $1
