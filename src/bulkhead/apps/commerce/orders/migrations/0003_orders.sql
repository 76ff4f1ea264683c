-- Orders, their items as they were when ordered, and who claimed which coupon.

create sequence public.order_numbers;
comment on sequence public.order_numbers is 'How many orders were numbered; see next_order_number.';

-- Without `set search_path`, so that it is inlined: a call as such would cost more than the row.
create function private.next_order_number() returns text
language sql volatile
as $$
  select 'A' || pg_catalog.to_char(
    (pg_catalog.nextval('public.order_numbers') * 387420489 + 271828183) % 1000000000,
    'FM000"-"000"-"000'
  )
$$;
comment on function private.next_order_number() is
  'A number to read out on the telephone. Multiplying by a number prime to ten only shuffles the
billion numbers, so that they are unique without telling how many orders there are.';

create table public.orders (
  id uuid primary key,
  order_number text not null unique default private.next_order_number(),
  user_id uuid not null,
  email text check (char_length(email) <= 320),
  state text not null default 'pending'
    check (state in ('pending', 'confirmed', 'shipped', 'delivered', 'cancelled', 'rejected')),
  currency public.currency_code not null,
  items_total public.money_amount not null check (items_total >= 0),
  discount_total public.money_amount not null default 0 check (discount_total >= 0),
  tax_total public.money_amount not null default 0 check (tax_total >= 0),
  shipping_total public.money_amount not null default 0 check (shipping_total >= 0),
  total public.money_amount not null check (total >= 0),
  coupon_id uuid references public.coupons (id) on delete restrict,
  coupon_code text,
  shipping_address jsonb not null check (jsonb_typeof(shipping_address) = 'object'),
  billing_address jsonb check (jsonb_typeof(billing_address) = 'object'),
  shipping_method text not null default 'standard' check (char_length(shipping_method) <= 60),
  customer_note text check (char_length(customer_note) <= 2000),
  request_hash text check (char_length(request_hash) <= 128),
  end_reason text check (char_length(end_reason) <= 500),
  deadline_at timestamptz not null default now() + interval '2 minutes',
  confirmed_at timestamptz,
  shipped_at timestamptz,
  delivered_at timestamptz,
  ended_at timestamptz,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint orders_total_adds_up
    check (total = items_total - discount_total + tax_total + shipping_total)
) with (fillfactor = 80);
comment on table public.orders is
  'What a customer ordered. The row is also the state of the checkout: pending until paid for.';
comment on column public.orders.id is 'Follows from the customer and the idempotency key.';
comment on column public.orders.request_hash is
  'What the idempotency key was used for; the same key with another request is refused.';
comment on column public.orders.deadline_at is
  'Until when a pending order may still be paid for; after it, recovery decides.';
comment on column public.orders.ended_at is 'When it was cancelled or rejected, for end_reason.';
create index orders_user on public.orders (user_id, created_at desc, id desc);
create index orders_newest on public.orders (created_at desc, id desc);
create index orders_state on public.orders (state, created_at desc, id desc);
create index orders_coupon on public.orders (coupon_id) where coupon_id is not null;

create trigger orders_edges before update on public.orders
  for each row when (old.state is distinct from new.state)
  execute function private.check_state_edge(
    'pending>confirmed', 'pending>cancelled', 'pending>rejected',
    'confirmed>shipped', 'confirmed>cancelled', 'shipped>delivered'
  );

create function private.stamp_order() returns trigger
language plpgsql set search_path = ''
as $$
begin
  new.updated_at := now();
  if new.state <> old.state then
    case new.state
      when 'confirmed' then new.confirmed_at := now();
      when 'shipped' then new.shipped_at := coalesce(new.shipped_at, now());
      when 'delivered' then new.delivered_at := coalesce(new.delivered_at, now());
      else new.ended_at := now();
    end case;
  end if;
  return new;
end
$$;
comment on function private.stamp_order() is
  'Trigger before update: keeps updated_at and the time of each state.';
create trigger orders_stamp before update on public.orders
  for each row execute function private.stamp_order();

create trigger orders_keep_user before update on public.orders
  for each row when (old.user_id is distinct from new.user_id)
  execute function private.refuse_change('user_id');
create trigger orders_keep_amounts before update on public.orders
  for each row when (
    (old.total, old.items_total, old.discount_total, old.tax_total, old.shipping_total,
      old.currency)
    is distinct from
    (new.total, new.items_total, new.discount_total, new.tax_total, new.shipping_total,
      new.currency)
  )
  execute function private.refuse_change('total');

create table public.order_items (
  order_id uuid not null references public.orders (id) on delete cascade,
  line_number integer not null check (line_number > 0),
  product_id uuid not null,
  variant_id uuid not null,
  sku text not null check (char_length(sku) between 1 and 100),
  title text not null check (char_length(title) between 1 and 500),
  variant_title text not null default '' check (char_length(variant_title) <= 200),
  image_url text check (char_length(image_url) <= 2000),
  unit_price public.money_amount not null check (unit_price >= 0),
  quantity integer not null check (quantity > 0),
  line_total public.money_amount not null generated always as (unit_price * quantity) stored,
  returned_quantity integer not null default 0,
  created_at timestamptz not null default now(),
  primary key (order_id, line_number),
  constraint order_items_returned check (returned_quantity between 0 and quantity)
);
comment on table public.order_items is
  'The lines of an order with name and price as they were; they never change.';
comment on column public.order_items.returned_quantity is
  'How much of the line stands in returns that were not refused; kept by a trigger on returns.';
create index order_items_product on public.order_items (product_id);
create index order_items_variant on public.order_items (variant_id);
create trigger order_items_keep before update on public.order_items
  for each row when (
    (old.order_id, old.line_number, old.product_id, old.variant_id, old.unit_price, old.quantity)
    is distinct from
    (new.order_id, new.line_number, new.product_id, new.variant_id, new.unit_price, new.quantity)
  )
  execute function private.refuse_change('line');

create table public.coupon_usage (
  order_id uuid primary key references public.orders (id) on delete cascade,
  coupon_id uuid not null references public.coupons (id) on delete restrict,
  user_id uuid not null,
  user_key text not null check (char_length(user_key) between 1 and 320),
  slot integer check (slot > 0),
  state text not null default 'held' check (state in ('held', 'used', 'released')),
  discount public.money_amount not null check (discount >= 0),
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
) with (fillfactor = 80);
comment on table public.coupon_usage is
  'The claim of an order on a coupon. A live claim takes one of the per_user_limit slots of its
customer, and no slot is taken twice.';
comment on column public.coupon_usage.user_key is
  'Whose limit it counts against: the user id, or for guests the normalised e-mail address.';
create unique index coupon_usage_slot on public.coupon_usage (coupon_id, user_key, slot)
  where state in ('held', 'used');
create index coupon_usage_coupon on public.coupon_usage (coupon_id, created_at desc);
create index coupon_usage_user on public.coupon_usage (user_id, created_at desc);
create trigger coupon_usage_edges before update on public.coupon_usage
  for each row when (old.state is distinct from new.state)
  execute function private.check_state_edge('held>used', 'held>released', 'used>released');
create trigger coupon_usage_touch before update on public.coupon_usage
  for each row execute function private.touch_updated_at();
create trigger coupon_usage_keep_user before update on public.coupon_usage
  for each row when (old.user_id is distinct from new.user_id)
  execute function private.refuse_change('user_id');

alter table public.orders enable row level security;
alter table public.orders force row level security;
alter table public.order_items enable row level security;
alter table public.order_items force row level security;
alter table public.coupon_usage enable row level security;
alter table public.coupon_usage force row level security;

create policy read_own on public.orders for select to authenticated
  using (user_id = (select auth.uid()));
create policy read_staff on public.orders for select to authenticated
  using ((select private.is_staff()));
grant select on public.orders to authenticated;

-- The policies of what belongs to an order ask for the order, whose own policy then decides.
create policy read_visible on public.order_items for select to authenticated
  using (exists (select 1 from public.orders o where o.id = order_id));
grant select on public.order_items to authenticated;

create policy read_own on public.coupon_usage for select to authenticated
  using (user_id = (select auth.uid()));
create policy read_staff on public.coupon_usage for select to authenticated
  using ((select private.is_staff()));
grant select on public.coupon_usage to authenticated;

-- migrate:down
drop table public.coupon_usage;
drop table public.order_items;
drop table public.orders;
drop function private.stamp_order();
drop function private.next_order_number();
drop sequence public.order_numbers;
