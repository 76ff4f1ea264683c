-- Stock, what orders hold of it, and the ledger of everything that ever moved.

create table public.stock (
  variant_id uuid primary key references public.product_variants (id) on delete cascade,
  on_hand integer not null default 0,
  reserved integer not null default 0,
  available integer not null generated always as (on_hand - reserved) stored,
  reorder_level integer not null default 0 check (reorder_level >= 0),
  constraint stock_never_oversold check (0 <= reserved and reserved <= on_hand)
) with (fillfactor = 50);
comment on table public.stock is
  'How much of a variant is there and how much of that is promised; changed only by the functions
reserve_stock, release_stock, commit_stock, restock and adjust_stock.';

create table public.stock_reservations (
  order_id uuid primary key,
  state text not null check (state in ('held', 'committed', 'released', 'expired')),
  expires_at timestamptz not null,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
) with (fillfactor = 70);
comment on table public.stock_reservations is
  'What became of the stock that an order reserved. A released row is also a tombstone: it makes a
reservation that arrives after its release come too late.';
create index stock_reservations_held on public.stock_reservations (expires_at, order_id)
  where state = 'held';
create trigger stock_reservations_edges before update on public.stock_reservations
  for each row when (old.state is distinct from new.state)
  execute function private.check_state_edge(
    'held>committed', 'held>released', 'held>expired', 'expired>held', 'expired>released'
  );

create table public.stock_reservation_lines (
  order_id uuid not null references public.stock_reservations (order_id) on delete cascade,
  variant_id uuid not null references public.stock (variant_id) on delete restrict,
  quantity integer not null check (quantity > 0),
  primary key (order_id, variant_id)
);
comment on table public.stock_reservation_lines is 'How much of which variants an order reserved.';
create index stock_reservation_lines_variant on public.stock_reservation_lines (variant_id);

create table public.inventory_movements (
  id uuid primary key default gen_random_uuid(),
  variant_id uuid not null references public.stock (variant_id) on delete restrict,
  quantity integer not null check (quantity <> 0),
  reason text not null
    check (reason in ('receipt', 'sale', 'cancel', 'return', 'adjustment', 'write_off')),
  order_id uuid,
  return_id uuid,
  actor_id uuid,
  note text check (char_length(note) <= 500),
  created_at timestamptz not null default now(),
  constraint inventory_movements_of_order
    check ((order_id is not null) = (reason in ('sale', 'cancel', 'return'))),
  constraint inventory_movements_of_return check (return_id is null or reason = 'return'),
  constraint inventory_movements_direction check (
    case
      when reason in ('sale', 'write_off') then quantity < 0
      when reason in ('receipt', 'cancel', 'return') then quantity > 0
      else true
    end
  )
);
comment on table public.inventory_movements is
  'The ledger of stock: on_hand of a variant is the sum of its movements.';
create unique index inventory_movements_once
  on public.inventory_movements (order_id, variant_id, reason, return_id) nulls not distinct
  where order_id is not null;
create index inventory_movements_variant
  on public.inventory_movements (variant_id, created_at desc, id desc);
create index inventory_movements_return on public.inventory_movements (return_id)
  where return_id is not null;
create index inventory_movements_actor on public.inventory_movements (actor_id)
  where actor_id is not null;

create function private.refuse_rewrite() returns trigger
language plpgsql set search_path = ''
as $$
begin
  raise exception '% is a ledger: rows are only ever added', tg_table_name
    using errcode = 'check_violation', table = tg_table_name, constraint = tg_name;
end
$$;
comment on function private.refuse_rewrite() is 'Trigger before update or delete: refuses.';
create trigger inventory_movements_append_only
  before update or delete on public.inventory_movements
  for each row execute function private.refuse_rewrite();

create function private.open_stock() returns trigger
language plpgsql security definer set search_path = ''
as $$
begin
  insert into public.stock (variant_id)
  select n.id from new_variants n
  on conflict do nothing;
  return null;
end
$$;
comment on function private.open_stock() is 'Trigger: gives each new variant its row of stock.';
create trigger product_variants_open_stock after insert on public.product_variants
  referencing new table as new_variants
  for each statement execute function private.open_stock();

alter table public.stock enable row level security;
alter table public.stock force row level security;
alter table public.stock_reservations enable row level security;
alter table public.stock_reservations force row level security;
alter table public.stock_reservation_lines enable row level security;
alter table public.stock_reservation_lines force row level security;
alter table public.inventory_movements enable row level security;
alter table public.inventory_movements force row level security;

create policy open_stock_read on public.stock for select to current_user using (true);
create policy open_stock on public.stock for insert to current_user with check (true);
create policy read_visible on public.stock for select to anon, authenticated
  using (exists (select 1 from public.product_variants v where v.id = variant_id));
grant select (variant_id, available) on public.stock to anon, authenticated;

create policy read_staff on public.stock_reservations for select to authenticated
  using ((select private.is_staff()));
grant select on public.stock_reservations to authenticated;
create policy read_staff on public.stock_reservation_lines for select to authenticated
  using ((select private.is_staff()));
grant select on public.stock_reservation_lines to authenticated;
create policy read_staff on public.inventory_movements for select to authenticated
  using ((select private.is_staff()));
grant select on public.inventory_movements to authenticated;

-- migrate:down
drop trigger product_variants_open_stock on public.product_variants;
drop function private.open_stock();
drop table public.inventory_movements;
drop function private.refuse_rewrite();
drop table public.stock_reservation_lines;
drop table public.stock_reservations;
drop table public.stock;
