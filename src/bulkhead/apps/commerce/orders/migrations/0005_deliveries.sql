-- Shipments and what carriers tell of them.

create table public.shipments (
  id uuid primary key default gen_random_uuid(),
  order_id uuid not null references public.orders (id) on delete restrict,
  carrier text not null check (char_length(carrier) between 1 and 60),
  service text check (char_length(service) <= 60),
  tracking_number text check (char_length(tracking_number) <= 100),
  tracking_url text check (char_length(tracking_url) <= 2000),
  state text not null default 'preparing' check (
    state in ('preparing', 'shipped', 'in_transit', 'out_for_delivery', 'delivered', 'failed',
      'returned')
  ),
  state_at timestamptz,
  items jsonb not null default '[]' check (jsonb_typeof(items) = 'array'),
  shipped_at timestamptz,
  delivered_at timestamptz,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  unique (id, order_id)
);
comment on table public.shipments is
  'Parcels of an order; the state follows from the newest of their events.';
comment on column public.shipments.items is 'What is inside: [{line_number, quantity}].';
create index shipments_order on public.shipments (order_id, created_at);
create unique index shipments_tracking on public.shipments (carrier, tracking_number)
  where tracking_number is not null;
create index shipments_state on public.shipments (state, created_at desc, id desc);
create trigger shipments_touch before update on public.shipments
  for each row execute function private.touch_updated_at();
create trigger shipments_keep_order before update on public.shipments
  for each row when (old.order_id is distinct from new.order_id)
  execute function private.refuse_change('order_id');

create table public.shipping_events (
  id uuid primary key default gen_random_uuid(),
  shipment_id uuid not null,
  order_id uuid not null,
  carrier_event_id text not null check (char_length(carrier_event_id) between 1 and 200),
  state text not null check (
    state in ('shipped', 'in_transit', 'out_for_delivery', 'delivered', 'failed', 'returned')
  ),
  description text not null default '' check (char_length(description) <= 500),
  place text check (char_length(place) <= 200),
  occurred_at timestamptz not null,
  created_at timestamptz not null default now(),
  constraint shipping_events_once unique (shipment_id, carrier_event_id),
  foreign key (shipment_id, order_id) references public.shipments (id, order_id) on delete cascade
);
comment on table public.shipping_events is
  'The way of a parcel as its carrier told it; rows are only ever added, in any order of time.';
create index shipping_events_shipment
  on public.shipping_events (shipment_id, order_id, occurred_at desc);
create index shipping_events_order on public.shipping_events (order_id, occurred_at desc, id desc);

create function private.refuse_rewrite() returns trigger
language plpgsql set search_path = ''
as $$
begin
  raise exception '% is a ledger: rows are only ever added', tg_table_name
    using errcode = 'check_violation', table = tg_table_name, constraint = tg_name;
end
$$;
comment on function private.refuse_rewrite() is 'Trigger before update: refuses.';
create trigger shipping_events_append_only before update on public.shipping_events
  for each row execute function private.refuse_rewrite();

create function private.follow_events() returns trigger
language plpgsql set search_path = ''
as $$
begin
  perform 1
  from public.shipments s
  where s.id in (select e.shipment_id from new_events e)
  order by s.id
  for no key update;

  update public.shipments s
  set shipped_at = least(s.shipped_at, n.first_at),
    state = case when n.last_at > coalesce(s.state_at, '-infinity') then n.state else s.state end,
    state_at = greatest(s.state_at, n.last_at),
    delivered_at = coalesce(s.delivered_at, n.delivered_at)
  from (
    select e.shipment_id, min(e.occurred_at) as first_at, max(e.occurred_at) as last_at,
      (array_agg(e.state order by e.occurred_at desc, e.created_at desc, e.id))[1] as state,
      min(e.occurred_at) filter (where e.state = 'delivered') as delivered_at
    from new_events e
    group by e.shipment_id
  ) n
  where s.id = n.shipment_id;
  return null;
end
$$;
comment on function private.follow_events() is
  'Trigger after statement: the newest event by its own time gives the state, a late one does not
move a parcel backwards.';
create trigger shipping_events_follow after insert on public.shipping_events
  referencing new table as new_events
  for each statement execute function private.follow_events();

alter table public.shipments enable row level security;
alter table public.shipments force row level security;
alter table public.shipping_events enable row level security;
alter table public.shipping_events force row level security;

create policy read_visible on public.shipments for select to authenticated
  using (exists (select 1 from public.orders o where o.id = order_id));
grant select on public.shipments to authenticated;
create policy read_visible on public.shipping_events for select to authenticated
  using (exists (select 1 from public.orders o where o.id = order_id));
grant select on public.shipping_events to authenticated;

-- migrate:down
drop table public.shipping_events;
drop function private.follow_events();
drop function private.refuse_rewrite();
drop table public.shipments;
