-- Carts and wishlists: rows of the customer who made them, signed in or as a guest.

create table public.shopping_cart (
  user_id uuid not null default auth.uid(),
  variant_id uuid not null references public.product_variants (id) on delete cascade,
  quantity integer not null default 1 check (quantity between 1 and 999),
  price_seen public.money_amount not null,
  currency_seen public.currency_code not null,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  primary key (user_id, variant_id)
);
comment on table public.shopping_cart is 'What a customer means to buy: one row for each variant.';
comment on column public.shopping_cart.price_seen is
  'The price when the row was last written, so that the customer can be told of a change.';
create index shopping_cart_variant on public.shopping_cart (variant_id);
create index shopping_cart_idle on public.shopping_cart (updated_at);
create trigger shopping_cart_touch before update on public.shopping_cart
  for each row execute function private.touch_updated_at();
create trigger shopping_cart_keep_user before update on public.shopping_cart
  for each row when (old.user_id is distinct from new.user_id)
  execute function private.refuse_change('user_id');

create function private.note_price_seen() returns trigger
language plpgsql set search_path = ''
as $$
begin
  select v.price, v.currency into new.price_seen, new.currency_seen
  from public.product_variants v
  where v.id = new.variant_id;
  return new;
end
$$;
comment on function private.note_price_seen() is
  'Trigger before insert or update: notes the price that the customer sees at this moment; a variant
that the customer cannot see has none and is refused.';
create trigger shopping_cart_note_price before insert or update of variant_id, quantity
  on public.shopping_cart
  for each row execute function private.note_price_seen();

create table public.wishlists (
  user_id uuid not null default auth.uid(),
  product_id uuid not null references public.products (id) on delete cascade,
  note text check (char_length(note) <= 500),
  created_at timestamptz not null default now(),
  primary key (user_id, product_id)
);
comment on table public.wishlists is 'Products that a customer wants to remember.';
create index wishlists_user on public.wishlists (user_id, created_at desc, product_id desc);
create index wishlists_product on public.wishlists (product_id);
create trigger wishlists_keep_user before update on public.wishlists
  for each row when (old.user_id is distinct from new.user_id)
  execute function private.refuse_change('user_id');

create function private.merge_cart(p_guest uuid, p_user uuid) returns integer
language sql set search_path = ''
as $$
  with taken as (
    delete from public.shopping_cart c
    where c.user_id = p_guest
      and p_guest <> p_user
    returning c.variant_id, c.quantity, c.price_seen, c.currency_seen
  ), merged as (
    insert into public.shopping_cart as c
      (user_id, variant_id, quantity, price_seen, currency_seen)
    select p_user, t.variant_id, t.quantity, t.price_seen, t.currency_seen
    from taken t
    order by t.variant_id
    on conflict (user_id, variant_id) do update
    set quantity = least(c.quantity + excluded.quantity, 999)
    returning 1
  )
  select count(*)::integer from merged
$$;
comment on function private.merge_cart(uuid, uuid) is
  'Move the cart of a guest into that of the user who signed in. Returns how many rows moved.';

alter table public.shopping_cart enable row level security;
alter table public.shopping_cart force row level security;
alter table public.wishlists enable row level security;
alter table public.wishlists force row level security;

create policy read_own on public.shopping_cart for select to authenticated
  using (user_id = (select auth.uid()));
create policy insert_own on public.shopping_cart for insert to authenticated
  with check (user_id = (select auth.uid()));
create policy update_own on public.shopping_cart for update to authenticated
  using (user_id = (select auth.uid())) with check (user_id = (select auth.uid()));
create policy delete_own on public.shopping_cart for delete to authenticated
  using (user_id = (select auth.uid()));
grant select, delete on public.shopping_cart to authenticated;
grant insert (user_id, variant_id, quantity), update (variant_id, quantity)
  on public.shopping_cart to authenticated;

create policy read_own on public.wishlists for select to authenticated
  using (user_id = (select auth.uid()));
create policy insert_own on public.wishlists for insert to authenticated
  with check (
    user_id = (select auth.uid())
    and exists (select 1 from public.products p where p.id = product_id)
  );
create policy update_own on public.wishlists for update to authenticated
  using (user_id = (select auth.uid())) with check (user_id = (select auth.uid()));
create policy delete_own on public.wishlists for delete to authenticated
  using (user_id = (select auth.uid()));
grant select, delete on public.wishlists to authenticated;
grant insert (user_id, product_id, note), update (note) on public.wishlists to authenticated;

-- migrate:down
drop function private.merge_cart(uuid, uuid);
drop table public.wishlists;
drop table public.shopping_cart;
drop function private.note_price_seen();
