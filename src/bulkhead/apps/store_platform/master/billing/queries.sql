-- name: lock_store
-- The store whose subscription changes, locked against others that change it.
select id, subscription_plan, deleted_at
from public.stores
where id = $1
for update

-- name: find_live
-- The subscription that counts, locked.
select id, store_id, plan_name, status, currency, price_monthly, price_annual, billing_cycle,
  max_products, max_orders_per_month, max_storage_gb, max_api_calls_per_month, payment_source,
  started_at, trial_ends_at, current_period_start, current_period_end, cancelled_at
from public.subscriptions
where store_id = $1
  and status in ('active', 'trial')
for update

-- name: find_last
-- The subscription that was begun last.
select id, store_id, plan_name, status, currency, price_monthly, price_annual, billing_cycle,
  max_products, max_orders_per_month, max_storage_gb, max_api_calls_per_month, started_at,
  trial_ends_at, current_period_start, current_period_end, cancelled_at
from public.subscriptions
where store_id = $1
order by created_at desc, id desc
limit 1

-- name: had_trial
-- Whether the store has tried a plan that costs.
select exists (
  select 1
  from public.subscriptions
  where store_id = $1
    and trial_ends_at is not null
)

-- name: end_live
-- End the subscription that counts: it was cancelled, or has expired.
update public.subscriptions
set status = $2,
  cancelled_at = case $2 when 'cancelled' then now() else cancelled_at end
where store_id = $1
  and status in ('active', 'trial')
  and ($3::uuid is null or id = $3)
returning id, plan_name

-- name: add_subscription
-- Begin a subscription; prices and limits are those of today.
insert into public.subscriptions
  (id, store_id, plan_name, status, currency, price_monthly, price_annual, billing_cycle,
  max_products, max_orders_per_month, max_storage_gb, max_api_calls_per_month, payment_source,
  trial_ends_at, started_at, current_period_start, current_period_end)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $15, $16)

-- name: show_subscription
-- Let the store say what it pays for.
update public.stores
set subscription_plan = $2,
  subscription_status = $3,
  trial_ends_at = $4,
  subscription_started_at = coalesce($5, subscription_started_at)
where id = $1

-- name: set_source
-- Keep with what a subscription is paid from now on.
update public.subscriptions
set payment_source = $2
where id = $1

-- name: list_ended
-- Subscriptions whose trial or period is over, with their stores; each goes to one worker. What is
-- being deleted, or is to be no more with its database, begins no other period, unless that is
-- taken back.
select s.id, s.store_id, s.plan_name, s.status, s.currency, s.price_monthly, s.price_annual,
  s.billing_cycle, s.payment_source, s.started_at, s.trial_ends_at, s.current_period_start,
  s.current_period_end
from public.stores t
join public.subscriptions s on s.store_id = t.id
where s.status in ('active', 'trial')
  and s.current_period_end <= $1
  and t.deleted_at is null
  and t.database_status <> 'deleting'
  and (t.database_status <> 'deleted' or t.is_active)
order by s.current_period_end
limit $2
for no key update of t skip locked
for update of s skip locked

-- name: begin_period
-- Let the next period of a subscription begin.
update public.subscriptions
set status = 'active',
  current_period_start = $2,
  current_period_end = $3
where id = $1

-- name: add_invoice
-- Charge a period; nothing when it was charged before.
insert into public.billing_transactions
  (id, store_id, subscription_id, amount, currency, description, invoice_url, period_start,
  period_end, due_at)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
on conflict (subscription_id, period_start) do nothing

-- name: find_source
-- With what a subscription is paid by now.
select payment_source
from public.subscriptions
where id = $1

-- name: list_due
-- Invoices that are to be charged now.
select b.id, b.store_id, b.subscription_id, b.amount, b.currency, b.attempts, s.payment_source,
  s.status as subscription_status
from public.billing_transactions b
join public.subscriptions s on s.id = b.subscription_id
where b.status = 'pending'
  and b.due_at <= $1
order by b.due_at
limit $2

-- name: complete_invoice
-- The invoice is paid.
update public.billing_transactions
set status = 'completed',
  attempts = $2 + 1,
  payment_method = $3,
  payment_provider_id = $4,
  failure_code = null,
  processed_at = now()
where id = $1
  and status = 'pending'

-- name: postpone_invoice
-- The card was declined; the invoice is tried again later, or no more.
update public.billing_transactions
set status = case when $5 then 'failed' else 'pending' end,
  attempts = $2 + 1,
  failure_code = $3,
  due_at = $4,
  processed_at = case when $5 then now() else processed_at end
where id = $1
  and status = 'pending'
  and attempts = $2

-- name: put_off_invoice
-- Nobody knows yet what became of the attempt; ask again later, when others had their turn.
update public.billing_transactions
set due_at = $3
where id = $1
  and status = 'pending'
  and attempts = $2

-- name: list_invoices
-- The invoices of a store that the asking role may see, the newest first.
select id, invoice_number, amount, currency, status, payment_method, payment_provider_id,
  description, invoice_url, period_start, period_end, attempts, failure_code, processed_at,
  created_at
from public.billing_transactions
where store_id = $1
order by created_at desc, id desc
limit $2

-- name: find_invoice
-- One invoice of a store.
select id, invoice_number, amount, currency, status, payment_method, payment_provider_id,
  description, invoice_url, period_start, period_end, attempts, failure_code, processed_at,
  created_at
from public.billing_transactions
where store_id = $1
  and id = $2
