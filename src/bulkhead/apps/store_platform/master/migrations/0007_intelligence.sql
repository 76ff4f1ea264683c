-- What the platform knows of its stores: rolled up, and right again after whatever came late.

create table public.store_analytics (
  store_id uuid not null references public.stores (id) on delete cascade,
  day date not null,
  currency public.currency_code not null,
  orders integer not null default 0 check (orders >= 0),
  orders_cancelled integer not null default 0 check (orders_cancelled >= 0),
  items_sold integer not null default 0 check (items_sold >= 0),
  revenue public.money_amount not null default 0 check (revenue >= 0),
  customers integer not null default 0 check (customers >= 0),
  average_order_value public.money_amount generated always as (
    case when orders = 0 then 0 else round(revenue / orders, 2) end
  ) stored,
  rolled_up_at timestamptz not null default now(),
  created_at timestamptz not null default now(),
  primary key (store_id, day, currency)
);
comment on table public.store_analytics is
  'What a store sold on a day of UTC; written anew from the store whenever orders of it change.';
create index store_analytics_day on public.store_analytics (day);

create table public.rollup_states (
  store_id uuid primary key references public.stores (id) on delete cascade,
  read_until timestamptz not null,
  failed_at timestamptz,
  failure text check (char_length(failure) <= 500),
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);
comment on table public.rollup_states is
  'Up to which instant, on the clock of the store, its changes are rolled up.';

create table public.usage_statistics (
  day date primary key,
  stores_active integer not null default 0 check (stores_active >= 0),
  products_created bigint not null default 0 check (products_created >= 0),
  products_deleted bigint not null default 0 check (products_deleted >= 0),
  orders_created bigint not null default 0 check (orders_created >= 0),
  storage_uploaded_bytes bigint not null default 0 check (storage_uploaded_bytes >= 0),
  api_calls bigint not null default 0 check (api_calls >= 0),
  api_errors bigint not null default 0 check (api_errors >= 0),
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);
comment on table public.usage_statistics is 'What all stores together used on a day.';

create table public.revenue_reports (
  month date not null check (extract(day from month) = 1),
  plan_name public.plan_name not null,
  currency public.currency_code not null,
  invoices integer not null default 0 check (invoices >= 0),
  invoiced public.money_amount not null default 0 check (invoiced >= 0),
  collected public.money_amount not null default 0 check (collected >= 0),
  failed public.money_amount not null default 0 check (failed >= 0),
  refunded public.money_amount not null default 0 check (refunded >= 0),
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  primary key (month, plan_name, currency)
);
comment on table public.revenue_reports is 'What the platform invoiced and got in a month.';

create table public.performance_metrics (
  store_id uuid not null references public.stores (id) on delete cascade,
  day date not null,
  calls integer not null check (calls >= 0),
  errors integer not null check (errors >= 0),
  p50_ms integer not null check (p50_ms >= 0),
  p95_ms integer not null check (p95_ms >= 0),
  p99_ms integer not null check (p99_ms >= 0),
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  primary key (store_id, day)
);
comment on table public.performance_metrics is 'How fast the API of a store answered on a day.';
create index performance_metrics_day on public.performance_metrics (day);

alter table public.store_analytics enable row level security;
alter table public.store_analytics force row level security;
alter table public.rollup_states enable row level security;
alter table public.rollup_states force row level security;
alter table public.usage_statistics enable row level security;
alter table public.usage_statistics force row level security;
alter table public.revenue_reports enable row level security;
alter table public.revenue_reports force row level security;
alter table public.performance_metrics enable row level security;
alter table public.performance_metrics force row level security;

create policy read_visible on public.store_analytics for select to authenticated
  using (exists (select 1 from public.stores s where s.id = store_id));
grant select on public.store_analytics to authenticated;
create policy read_visible on public.performance_metrics for select to authenticated
  using (exists (select 1 from public.stores s where s.id = store_id));
grant select on public.performance_metrics to authenticated;
create policy read_staff on public.usage_statistics for select to authenticated
  using ((select private.is_staff()));
grant select on public.usage_statistics to authenticated;
create policy read_staff on public.revenue_reports for select to authenticated
  using ((select private.is_staff()));
grant select on public.revenue_reports to authenticated;

-- migrate:down
drop table public.performance_metrics;
drop table public.revenue_reports;
drop table public.usage_statistics;
drop table public.rollup_states;
drop table public.store_analytics;
