-- Coupons, limited by counters that cannot pass their limit.

create table public.coupons (
  id uuid primary key default gen_random_uuid(),
  code text not null check (code ~ '^[A-Za-z0-9_-]{3,40}$'),
  description text not null default '' check (char_length(description) <= 500),
  kind text not null check (kind in ('percent', 'amount', 'free_shipping')),
  value public.money_amount not null default 0 check (value >= 0),
  currency public.currency_code,
  min_total public.money_amount not null default 0 check (min_total >= 0),
  max_discount public.money_amount check (max_discount >= 0),
  starts_at timestamptz not null default now(),
  ends_at timestamptz check (ends_at > starts_at),
  total_limit integer check (total_limit >= 0),
  per_user_limit integer check (per_user_limit between 0 and 1000),
  held_count integer not null default 0 check (held_count >= 0),
  used_count integer not null default 0 check (used_count >= 0),
  disabled_at timestamptz,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint coupons_percent check (kind <> 'percent' or value between 0 and 100),
  constraint coupons_currency check (kind <> 'amount' or currency is not null),
  constraint coupons_within_limit check (held_count + used_count <= total_limit)
) with (fillfactor = 70);
comment on table public.coupons is
  'Discount codes. A claim is held while its order is paid for, then used or given back.';
comment on column public.coupons.value is 'Per cent or an amount of money, after kind.';
create unique index coupons_code on public.coupons (lower(code));
create index coupons_newest on public.coupons (created_at desc, id desc);
create trigger coupons_touch before update on public.coupons
  for each row execute function private.touch_updated_at();

alter table public.coupons enable row level security;
alter table public.coupons force row level security;
create policy manage_staff on public.coupons for all to authenticated
  using ((select private.is_staff())) with check ((select private.is_staff()));
grant select, delete on public.coupons to authenticated;
grant insert (id, code, description, kind, value, currency, min_total, max_discount, starts_at,
      ends_at, total_limit, per_user_limit, disabled_at),
    update (code, description, kind, value, currency, min_total, max_discount, starts_at, ends_at,
      total_limit, per_user_limit, disabled_at)
  on public.coupons to authenticated;

-- migrate:down
drop table public.coupons;
