-- name: add_hold
-- Note what is to be taken from a limit, or that another attempt is at the same.
insert into public.usage_holds as h
  (id, store_id, metric, period_start, amount, subject_id, value)
values ($1, $2, $3, $4, $5, $6, $7)
on conflict (id) do update
set checked_at = clock_timestamp()
returning xmax = 0 as is_first

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

-- name: lock_counter
-- How much of a limit is used or held; until the transaction ends nobody takes of it.
select used + held as taken
from public.usage_counters
where store_id = $1
  and metric = $2
  and period_start = $3
for update

-- name: find_limit
-- What the plan of a store allows.
select plan_name, max_products, max_orders_per_month, max_storage_gb, max_api_calls_per_month
from public.subscriptions
where store_id = $1
  and status in ('active', 'trial')

-- name: settle
-- What was held is there, or gone: count it, on this day; each hold once. A value beyond what the
-- column takes ends there: what is in the store must be counted.
with settled as (
  update public.usage_holds
  set settled_at = clock_timestamp()
  where id = any ($1::uuid[])
    and settled_at is null
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
  least(coalesce(sum(s.value) filter (where s.metric = 'orders'), 0), 999999999999.99),
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
  orders_total_value = least(m.orders_total_value + excluded.orders_total_value, 999999999999.99),
  storage_uploaded_bytes = m.storage_uploaded_bytes + excluded.storage_uploaded_bytes,
  storage_deleted_bytes = m.storage_deleted_bytes + excluded.storage_deleted_bytes,
  storage_total_bytes = excluded.storage_total_bytes,
  updated_at = now()

-- name: release
-- What was held came to nothing: give it back, unless somebody has taken it up since.
with released as (
  delete from public.usage_holds
  where id = $1
    and settled_at is null
    and checked_at is not distinct from $2
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
  where u.settled_at is null
    and u.metric = any ($3::text[])
    and u.created_at <= now() - make_interval(secs => $1)
    and coalesce(u.checked_at, u.created_at) <= now() - make_interval(secs => $1)
    and s.database_status = 'active'
  order by coalesce(u.checked_at, u.created_at), u.id
  limit $2
  for update of u skip locked
) due
where h.id = due.id
returning h.id, h.store_id, h.metric, h.amount, h.subject_id, h.checked_at

-- name: forget_settled
-- Forget holds that were settled so long ago that nobody can be at the same any more.
delete from public.usage_holds
where settled_at < now() - make_interval(secs => $1)

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
-- Write down how calls ended, each once; failures are counted on the day of the call. Stores are
-- locked in one order, as by those who count calls.
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
), failed as (
  select store_id, day, count(*) as failures
  from ended
  where status_code >= 400
  group by store_id, day
), locked as (
  select m.id, f.failures
  from public.usage_metrics m
  join failed f on (f.store_id, f.day) = (m.store_id, m.metric_date)
  order by m.store_id, m.metric_date
  for no key update of m
)
update public.usage_metrics m
set api_errors = m.api_errors + f.failures,
  updated_at = now()
from locked f
where m.id = f.id

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
  where settled_at is null
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

-- name: list_open
-- What is held of a metric of a store and not settled, the oldest first.
select id, amount, subject_id, checked_at,
  extract(epoch from clock_timestamp() - created_at)::float8 as age_s
from public.usage_holds
where store_id = $1
  and metric = $2
  and settled_at is null
order by created_at, id

-- name: claim_hold
-- Be the only one who is at what is held; nothing where a sweep or another attempt has taken it up.
update public.usage_holds
set checked_at = clock_timestamp()
where id = $1
  and store_id = $2
  and settled_at is null
  and checked_at is null
returning amount, subject_id, checked_at

-- name: is_held
-- Whether something is held under an id of a store and not settled.
select exists (
  select from public.usage_holds
  where id = $1
    and store_id = $2
    and settled_at is null
)

-- name: unclaim_hold
-- Let others be at it again.
update public.usage_holds
set checked_at = null
where id = $1
  and settled_at is null
  and checked_at = $2

-- name: forget_holds
-- What was held of products is counted with the rest, or came to nothing. What was counted is not
-- remembered: rows of the same ids may be there again, and be deleted again.
delete from public.usage_holds
where store_id = $1
  and (
    metric = 'products'
    or (metric = 'storage_bytes' and settled_at is not null)
  )

-- name: set_counters
-- What a store has is so much. A file that is held stays so: there may be an object of it; and so
-- does a product that is being added now, though it is refused.
insert into public.usage_counters as c (store_id, metric, period_start, used)
values ($1, 'products', date '1970-01-01', $2), ($1, 'storage_bytes', date '1970-01-01', $3)
on conflict (store_id, metric, period_start) do update
set used = excluded.used,
  held = case c.metric
    when 'products' then (
      select coalesce(sum(greatest(h.amount, 0)), 0)
      from public.usage_holds h
      where h.store_id = $1
        and h.metric = 'products'
        and h.settled_at is null
    )
    else c.held
  end,
  doubted_at = null,
  updated_at = now()

-- name: list_doubted
-- Stores of which nobody knows for sure how many products they have, and when that was changed
-- last; none of which one is being written.
select c.store_id, c.updated_at
from public.usage_counters c
join public.stores s on s.id = c.store_id
where c.doubted_at is not null
  and c.metric = 'products'
  and s.database_status = 'active'
  and s.deleted_at is null
  and c.store_id > $1
  and not exists (
    select 1
    from public.usage_holds h
    where h.store_id = c.store_id
      and h.metric = 'products'
      and h.settled_at is null
  )
order by c.store_id
limit $2

-- name: set_counted
-- A store has so many products, unless some were held since.
with counted as (
  update public.usage_counters
  set used = $3,
    doubted_at = null,
    updated_at = now()
  where store_id = $1
    and metric = 'products'
    and updated_at = $2
    and doubted_at is not null
  returning store_id
), shown as (
  update public.stores t
  set product_count = $3
  from counted c
  where t.id = c.store_id
)
select store_id
from counted

-- name: show_counts
-- Let the store say so.
update public.stores
set product_count = $2,
  storage_used_bytes = $3,
  order_count = $4,
  last_activity_at = now()
where id = $1

-- name: note_totals
-- Let the day say so; nothing was made or deleted through the platform.
insert into public.usage_metrics (store_id, metric_date, total_products, storage_total_bytes)
values ($1, private.today(), $2, $3)
on conflict (store_id, metric_date) do update
set total_products = excluded.total_products,
  storage_total_bytes = excluded.storage_total_bytes,
  updated_at = now()
