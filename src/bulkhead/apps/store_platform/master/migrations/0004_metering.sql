-- What stores use: counters that the limits of plans are kept with, days, and calls of the API.

create table public.usage_counters (
  store_id uuid not null references public.stores (id) on delete cascade,
  metric text not null check (metric in ('products', 'orders', 'storage_bytes', 'api_calls')),
  period_start date not null,
  used bigint not null default 0 check (used >= 0),
  held bigint not null default 0 check (held >= 0),
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  primary key (store_id, metric, period_start)
) with (fillfactor = 70);
comment on table public.usage_counters is
  'What a store uses of its plan: by month, or since 1970-01-01 for what it has at once.';
comment on column public.usage_counters.held is
  'What is being written in the database of the store and is not known to be there yet.';

create table public.usage_holds (
  id uuid primary key,
  store_id uuid not null references public.stores (id) on delete cascade,
  metric text not null check (metric in ('products', 'orders', 'storage_bytes')),
  period_start date not null,
  amount bigint not null check (amount <> 0),
  subject_id uuid not null,
  value public.money_amount not null default 0,
  checked_at timestamptz,
  created_at timestamptz not null default now()
);
comment on table public.usage_holds is
  'What was taken from a limit before it is written in the database of a store; who wrote it, or
the next sweep that looks whether it is there, settles or releases it.';
comment on column public.usage_holds.amount is
  'Below zero for what is being deleted, which frees nothing before it is gone.';
comment on column public.usage_holds.checked_at is
  'When a sweep has last taken it up: one whose store is away does not keep others waiting.';
create index usage_holds_oldest on public.usage_holds ((coalesce(checked_at, created_at)), id);
create index usage_holds_store on public.usage_holds (store_id);

create table public.usage_metrics (
  id uuid primary key default gen_random_uuid(),
  store_id uuid not null references public.stores (id) on delete cascade,
  metric_date date not null,
  products_created integer not null default 0 check (products_created >= 0),
  products_updated integer not null default 0 check (products_updated >= 0),
  products_deleted integer not null default 0 check (products_deleted >= 0),
  total_products integer not null default 0 check (total_products >= 0),
  orders_created integer not null default 0 check (orders_created >= 0),
  orders_total_value public.money_amount not null default 0 check (orders_total_value >= 0),
  storage_uploaded_bytes bigint not null default 0 check (storage_uploaded_bytes >= 0),
  storage_deleted_bytes bigint not null default 0 check (storage_deleted_bytes >= 0),
  storage_total_bytes bigint not null default 0 check (storage_total_bytes >= 0),
  api_calls integer not null default 0 check (api_calls >= 0),
  api_errors integer not null default 0 check (api_errors >= 0),
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  unique (store_id, metric_date)
) with (fillfactor = 70);
comment on table public.usage_metrics is
  'What a store used on a day of UTC; api_calls is the number of its api_usage_logs of the day.';
create index usage_metrics_day on public.usage_metrics (metric_date);

create table public.api_usage_logs (
  id uuid not null,
  store_id uuid not null references public.stores (id) on delete cascade,
  endpoint text not null check (char_length(endpoint) between 1 and 255),
  method text not null check (method ~ '^[A-Z]{1,10}$'),
  status_code integer check (status_code between 100 and 599),
  response_time_ms integer check (response_time_ms >= 0),
  ip_address inet,
  user_agent text check (char_length(user_agent) <= 500),
  error_message text check (char_length(error_message) <= 500),
  created_at timestamptz not null default now(),
  primary key (id, created_at)
) partition by range (created_at);
comment on table public.api_usage_logs is
  'Calls of the API of stores, a partition for each month. A call is written, and with it counted,
before it is carried out; status_code comes after, and stays null when the process died.';
create index api_usage_logs_store on public.api_usage_logs (store_id, created_at desc);

create table private.api_usage_logs_default partition of public.api_usage_logs default;
alter table private.api_usage_logs_default enable row level security;
alter table private.api_usage_logs_default force row level security;

create function private.ensure_api_usage_partitions(ahead integer) returns integer
language plpgsql security definer set search_path = ''
as $$
declare
  first timestamptz := pg_catalog.date_trunc('month', pg_catalog.now(), 'UTC');
  low timestamptz;
  high timestamptz;
  partition text;
  made integer := 0;
begin
  perform pg_catalog.pg_advisory_xact_lock(
    pg_catalog.hashtextextended('private.ensure_api_usage_partitions', 0));
  for month in 0 .. least(ahead, 24) loop
    low := (first at time zone 'UTC' + pg_catalog.make_interval(months => month))
      at time zone 'UTC';
    high := (first at time zone 'UTC' + pg_catalog.make_interval(months => month + 1))
      at time zone 'UTC';
    partition := 'api_usage_logs_' || pg_catalog.to_char(low at time zone 'UTC', 'YYYY_MM');
    continue when pg_catalog.to_regclass(pg_catalog.format('private.%I', partition)) is not null;
    execute pg_catalog.format(
      'create table private.%I (like public.api_usage_logs including defaults including constraints)',
      partition);
    execute pg_catalog.format('alter table private.%I enable row level security', partition);
    -- What went to the default partition meanwhile moves into the new one.
    execute pg_catalog.format(
      'with moved as (delete from private.api_usage_logs_default'
      ' where created_at >= $1 and created_at < $2 returning *)'
      ' insert into private.%I select * from moved', partition)
      using low, high;
    execute pg_catalog.format('alter table private.%I force row level security', partition);
    execute pg_catalog.format(
      'alter table public.api_usage_logs attach partition private.%I for values from (%L) to (%L)',
      partition, low, high);
    made := made + 1;
  end loop;
  return made;
end
$$;
comment on function private.ensure_api_usage_partitions(integer) is
  'Makes the partitions of this month and of so many after it; returns how many were missing.';
revoke execute on function private.ensure_api_usage_partitions(integer) from public;
grant execute on function private.ensure_api_usage_partitions(integer) to service_role;

-- The owner of the tables moves rows out of the default partition, which has no policy for clients.
create policy keep_house on private.api_usage_logs_default to current_user
  using (true) with check (true);

select private.ensure_api_usage_partitions(2);

alter table public.usage_counters enable row level security;
alter table public.usage_counters force row level security;
alter table public.usage_holds enable row level security;
alter table public.usage_holds force row level security;
alter table public.usage_metrics enable row level security;
alter table public.usage_metrics force row level security;
alter table public.api_usage_logs enable row level security;
alter table public.api_usage_logs force row level security;

create policy read_visible on public.usage_counters for select to authenticated
  using (exists (select 1 from public.stores s where s.id = store_id));
grant select on public.usage_counters to authenticated;
create policy read_visible on public.usage_metrics for select to authenticated
  using (exists (select 1 from public.stores s where s.id = store_id));
grant select on public.usage_metrics to authenticated;
create policy read_visible on public.api_usage_logs for select to authenticated
  using (exists (select 1 from public.stores s where s.id = store_id));
grant select on public.api_usage_logs to authenticated;

-- migrate:down
drop table public.api_usage_logs;
drop function private.ensure_api_usage_partitions(integer);
drop table public.usage_metrics;
drop table public.usage_holds;
drop table public.usage_counters;
