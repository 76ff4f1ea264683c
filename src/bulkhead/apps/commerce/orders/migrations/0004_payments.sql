-- Payments: one row for each attempt, what was captured, what went back, and what providers told.

create table public.payment_attempts (
  order_id uuid not null references public.orders (id) on delete cascade,
  attempt_no integer not null check (attempt_no between 1 and 20),
  idempotency_key text not null
    generated always as (order_id::text || '-' || attempt_no::text) stored,
  provider text not null check (char_length(provider) between 1 and 60),
  provider_ref text check (char_length(provider_ref) <= 200),
  amount public.money_amount not null check (amount >= 0),
  currency public.currency_code not null,
  state text not null default 'started' check (
    state in ('started', 'unknown', 'succeeded', 'declined', 'voided', 'mismatch')
  ),
  decline_code text check (char_length(decline_code) <= 200),
  started_at timestamptz not null default now(),
  settled_at timestamptz,
  primary key (order_id, attempt_no)
) with (fillfactor = 80);
comment on table public.payment_attempts is
  'Every attempt to be paid, with the only key under which its provider is asked and the only amount
that may be charged.';
create unique index payment_attempts_one_success on public.payment_attempts (order_id)
  where state = 'succeeded';
create index payment_attempts_open on public.payment_attempts (started_at, order_id)
  where state in ('started', 'unknown');
create trigger payment_attempts_edges before update on public.payment_attempts
  for each row when (old.state is distinct from new.state)
  execute function private.check_state_edge(
    'started>unknown', 'started>succeeded', 'started>declined', 'started>voided',
    'started>mismatch', 'unknown>succeeded', 'unknown>declined', 'unknown>voided',
    'unknown>mismatch'
  );
create trigger payment_attempts_keep before update on public.payment_attempts
  for each row when ((old.amount, old.currency) is distinct from (new.amount, new.currency))
  execute function private.refuse_change('amount');

create table public.payments (
  id uuid primary key default gen_random_uuid(),
  order_id uuid not null,
  attempt_no integer not null,
  provider text not null,
  provider_ref text not null check (char_length(provider_ref) between 1 and 200),
  amount public.money_amount not null check (amount >= 0),
  currency public.currency_code not null,
  refunded_amount public.money_amount not null default 0,
  captured_at timestamptz not null default now(),
  created_at timestamptz not null default now(),
  constraint payments_attempt unique (order_id, attempt_no),
  constraint payments_provider_ref unique (provider, provider_ref),
  constraint payments_refunded check (refunded_amount between 0 and amount),
  foreign key (order_id, attempt_no)
    references public.payment_attempts (order_id, attempt_no) on delete restrict
);
comment on table public.payments is
  'Money that was captured, one row for each attempt that succeeded.';
comment on column public.payments.refunded_amount is
  'The sum of the refunds that are not refused, kept by a trigger; never above the amount.';
create trigger payments_keep before update on public.payments
  for each row when (
    (old.order_id, old.amount, old.currency)
    is distinct from (new.order_id, new.amount, new.currency)
  )
  execute function private.refuse_change('amount');

create table public.refunds (
  id uuid primary key default gen_random_uuid(),
  order_id uuid not null references public.orders (id) on delete restrict,
  payment_id uuid not null references public.payments (id) on delete restrict,
  request_key text not null check (char_length(request_key) between 1 and 200),
  return_id uuid,
  amount public.money_amount not null check (amount > 0),
  currency public.currency_code not null,
  reason text not null default '' check (char_length(reason) <= 500),
  state text not null default 'requested' check (state in ('requested', 'succeeded', 'failed')),
  provider_ref text check (char_length(provider_ref) <= 200),
  requested_by uuid,
  settled_at timestamptz,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint refunds_request unique (order_id, request_key)
);
comment on table public.refunds is
  'Money that goes back; the id is the key under which the provider is asked.';
comment on column public.refunds.request_key is
  'Names the wish: a double click or a repeated event asks for the same refund, not a second one.';
create index refunds_payment on public.refunds (payment_id);
create index refunds_return on public.refunds (return_id) where return_id is not null;
create index refunds_open on public.refunds (created_at, id) where state = 'requested';
create index refunds_requester on public.refunds (requested_by) where requested_by is not null;
create trigger refunds_edges before update on public.refunds
  for each row when (old.state is distinct from new.state)
  execute function private.check_state_edge('requested>succeeded', 'requested>failed');
create trigger refunds_keep before update on public.refunds
  for each row when (
    (old.order_id, old.payment_id, old.amount, old.currency)
    is distinct from (new.order_id, new.payment_id, new.amount, new.currency)
  )
  execute function private.refuse_change('amount');
create trigger refunds_touch before update on public.refunds
  for each row execute function private.touch_updated_at();

create function private.count_refund() returns trigger
language plpgsql security definer set search_path = ''
as $$
declare
  refunded numeric := 0;
  refund public.refunds := coalesce(new, old);
begin
  if tg_op <> 'INSERT' and old.state <> 'failed' then
    refunded := refunded - old.amount;
  end if;
  if tg_op <> 'DELETE' and new.state <> 'failed' then
    refunded := refunded + new.amount;
  end if;
  update public.payments p
  set refunded_amount = p.refunded_amount + refunded
  where p.id = refund.payment_id
    and p.order_id = refund.order_id
    and p.currency = refund.currency;
  if not found then
    raise exception 'refund % does not fit payment %', refund.id, refund.payment_id
      using errcode = 'check_violation', table = tg_table_name, constraint = tg_name;
  end if;
  return null;
end
$$;
comment on function private.count_refund() is
  'Trigger after a change: counts the refund on its payment, whose lock and CHECK keep any number of
refunds at once from giving back more than was captured.';
create constraint trigger refunds_within_payment after insert or update or delete on public.refunds
  for each row execute function private.count_refund();

create table public.payment_events (
  provider text not null check (char_length(provider) between 1 and 60),
  event_id text not null check (char_length(event_id) between 1 and 200),
  kind text not null check (char_length(kind) between 1 and 100),
  order_id uuid references public.orders (id) on delete set null,
  attempt_no integer,
  payload jsonb not null,
  outcome text check (char_length(outcome) <= 200),
  received_at timestamptz not null default now(),
  processed_at timestamptz,
  primary key (provider, event_id)
);
comment on table public.payment_events is
  'The inbox of webhooks: a provider may send an event often, it takes effect once.';
create index payment_events_order on public.payment_events (order_id) where order_id is not null;
create index payment_events_waiting on public.payment_events (received_at)
  where processed_at is null;

alter table public.payment_attempts enable row level security;
alter table public.payment_attempts force row level security;
alter table public.payments enable row level security;
alter table public.payments force row level security;
alter table public.refunds enable row level security;
alter table public.refunds force row level security;
alter table public.payment_events enable row level security;
alter table public.payment_events force row level security;

create policy read_visible on public.payment_attempts for select to authenticated
  using (exists (select 1 from public.orders o where o.id = order_id));
grant select on public.payment_attempts to authenticated;

create policy count_refunds_read on public.payments for select to current_user using (true);
create policy count_refunds on public.payments for update to current_user
  using (true) with check (true);
create policy read_visible on public.payments for select to authenticated
  using (exists (select 1 from public.orders o where o.id = order_id));
grant select on public.payments to authenticated;

create policy read_visible on public.refunds for select to authenticated
  using (exists (select 1 from public.orders o where o.id = order_id));
grant select on public.refunds to authenticated;

-- migrate:down
drop table public.payment_events;
drop table public.refunds;
drop function private.count_refund();
drop table public.payments;
drop table public.payment_attempts;
