-- What the gateway's benches read and write: orders, their lines and notes on them.
create table public.orders (
  id uuid primary key,
  order_number text not null unique,
  user_id uuid not null,
  state text not null check (state in ('pending', 'confirmed', 'shipped', 'delivered')),
  currency text not null,
  total numeric(12, 2) not null check (total >= 0),
  shipping_address jsonb not null,
  created_at timestamptz not null default now()
);
create index orders_user on public.orders (user_id, created_at desc, id desc);

create table public.order_items (
  order_id uuid not null references public.orders (id) on delete cascade,
  line_number integer not null check (line_number > 0),
  sku text not null,
  title text not null,
  unit_price numeric(12, 2) not null,
  quantity integer not null check (quantity > 0),
  primary key (order_id, line_number)
);

create table public.order_notes (
  id uuid primary key default gen_random_uuid(),
  order_id uuid not null references public.orders (id) on delete cascade,
  user_id uuid not null default auth.uid(),
  body text not null check (char_length(body) <= 2000),
  created_at timestamptz not null default now()
);
create index order_notes_order on public.order_notes (order_id);

alter table public.orders enable row level security;
alter table public.orders force row level security;
alter table public.order_items enable row level security;
alter table public.order_items force row level security;
alter table public.order_notes enable row level security;
alter table public.order_notes force row level security;

create policy read_own on public.orders for select to authenticated
  using (user_id = (select auth.uid()));
create policy read_visible on public.order_items for select to authenticated
  using (exists (select 1 from public.orders o where o.id = order_id));
create policy read_own on public.order_notes for select to authenticated
  using (user_id = (select auth.uid()));
create policy write_own on public.order_notes for insert to authenticated
  with check (user_id = (select auth.uid()));
grant select on public.orders, public.order_items to authenticated;
grant select, insert on public.order_notes to authenticated;

create function public.spent_since(since timestamptz)
returns table (state text, orders bigint, total numeric)
language sql stable
as $$
  select o.state, count(*), sum(o.total)
  from public.orders o
  where o.created_at >= since
  group by o.state
  order by o.state
$$;
grant execute on function public.spent_since(timestamptz) to authenticated;

-- migrate:down
drop function public.spent_since(timestamptz);
drop table public.order_notes;
drop table public.order_items;
drop table public.orders;
