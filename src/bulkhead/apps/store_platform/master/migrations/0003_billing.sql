-- What stores pay for: subscriptions with the limits they bought, and what was charged.

create table public.subscriptions (
  id uuid primary key default gen_random_uuid(),
  store_id uuid not null references public.stores (id) on delete restrict,
  plan_name public.plan_name not null,
  status text not null check (status in ('active', 'trial', 'cancelled', 'expired')),
  currency public.currency_code not null default 'USD',
  price_monthly public.money_amount not null check (price_monthly >= 0),
  price_annual public.money_amount not null check (price_annual >= 0),
  billing_cycle text not null default 'monthly' check (billing_cycle in ('monthly', 'annual')),
  max_products integer check (max_products >= 0),
  max_orders_per_month integer check (max_orders_per_month >= 0),
  max_storage_gb integer check (max_storage_gb >= 0),
  max_api_calls_per_month integer check (max_api_calls_per_month >= 0),
  payment_source text check (char_length(payment_source) between 1 and 255),
  started_at timestamptz not null default now(),
  trial_ends_at timestamptz,
  current_period_start timestamptz not null default now(),
  current_period_end timestamptz check (current_period_end > current_period_start),
  cancelled_at timestamptz,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint subscriptions_trial check (status <> 'trial' or trial_ends_at is not null),
  constraint subscriptions_cancelled check (status <> 'cancelled' or cancelled_at is not null)
);
comment on table public.subscriptions is
  'What a store has bought. Limits and prices are those of the day it was bought; null is no limit.';
comment on column public.subscriptions.payment_source is
  'What the payment company calls the card; of no use to anybody else.';
create unique index subscriptions_one_live on public.subscriptions (store_id)
  where status in ('active', 'trial');
create index subscriptions_store on public.subscriptions (store_id, created_at desc);
create index subscriptions_due on public.subscriptions (current_period_end)
  where status in ('active', 'trial');
create trigger subscriptions_touch before update on public.subscriptions
  for each row execute function private.touch_updated_at();
create trigger subscriptions_keep_store before update on public.subscriptions
  for each row when (old.store_id is distinct from new.store_id)
  execute function private.refuse_change('store_id');

create table public.billing_transactions (
  id uuid primary key default gen_random_uuid(),
  store_id uuid not null references public.stores (id) on delete restrict,
  subscription_id uuid not null references public.subscriptions (id) on delete restrict,
  invoice_number bigint generated always as identity unique,
  amount public.money_amount not null check (amount >= 0),
  currency public.currency_code not null default 'USD',
  status text not null default 'pending'
    check (status in ('pending', 'completed', 'failed', 'refunded')),
  payment_method text check (payment_method in ('stripe', 'paypal', 'credit_card', 'local')),
  payment_provider_id text check (char_length(payment_provider_id) <= 255),
  description text not null default '' check (char_length(description) <= 500),
  invoice_url text check (char_length(invoice_url) <= 500),
  period_start timestamptz not null,
  period_end timestamptz not null,
  attempts integer not null default 0 check (attempts >= 0),
  failure_code text check (char_length(failure_code) <= 100),
  due_at timestamptz not null default now(),
  processed_at timestamptz,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint billing_transactions_once unique (subscription_id, period_start),
  constraint billing_transactions_period check (period_end > period_start)
);
comment on table public.billing_transactions is
  'An invoice: a period of a subscription is charged once. Its id is the key of the payment.';
create index billing_transactions_store
  on public.billing_transactions (store_id, created_at desc, id desc);
create index billing_transactions_due on public.billing_transactions (due_at)
  where status = 'pending';
create index billing_transactions_created on public.billing_transactions (created_at);
create trigger billing_transactions_touch before update on public.billing_transactions
  for each row execute function private.touch_updated_at();
create trigger billing_transactions_keep before update on public.billing_transactions
  for each row when (
    (old.store_id, old.subscription_id, old.amount, old.currency, old.period_start, old.period_end)
    is distinct from
    (new.store_id, new.subscription_id, new.amount, new.currency, new.period_start, new.period_end)
  )
  execute function private.refuse_change('invoice');

alter table public.subscriptions enable row level security;
alter table public.subscriptions force row level security;
alter table public.billing_transactions enable row level security;
alter table public.billing_transactions force row level security;

-- Policies of what belongs to a store ask for the store, whose own policy then decides.
create policy read_visible on public.subscriptions for select to authenticated
  using (exists (select 1 from public.stores s where s.id = store_id));
grant select on public.subscriptions to authenticated;
create policy read_visible on public.billing_transactions for select to authenticated
  using (exists (select 1 from public.stores s where s.id = store_id));
grant select on public.billing_transactions to authenticated;

-- migrate:down
drop table public.billing_transactions;
drop table public.subscriptions;
