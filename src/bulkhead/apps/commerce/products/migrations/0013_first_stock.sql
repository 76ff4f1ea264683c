-- A product that is listed for the first time just when its first stock arrives is in stock.

create or replace function private.refresh_in_stock(p uuid[]) returns void
language plpgsql set search_path = ''
as $$
begin
  -- Of two transactions that each sell the last unit of another variant, the second has to see what
  -- the first one left, and so has one that lists the product: the lock comes first, in a statement
  -- of its own, and on the product, because what it is found by may not be there yet.
  perform 1
  from public.products t
  where t.id = any (p)
  order by t.id
  for no key update;

  update public.product_search s
  set in_stock = not s.in_stock
  where s.product_id = any (p)
    and s.in_stock <> exists (
      select 1
      from public.product_variants v
      join public.stock k on k.variant_id = v.id
      where v.product_id = s.product_id
        and v.archived_at is null
        and k.available > 0
    );
end
$$;

-- migrate:down
create or replace function private.refresh_in_stock(p uuid[]) returns void
language plpgsql set search_path = ''
as $$
begin
  -- Of two transactions that each sell the last unit of another variant, the second has to see what
  -- the first one left: the lock comes first, in a statement of its own.
  perform 1
  from public.product_search s
  where s.product_id = any (p)
  order by s.product_id
  for no key update;

  update public.product_search s
  set in_stock = not s.in_stock
  where s.product_id = any (p)
    and s.in_stock <> exists (
      select 1
      from public.product_variants v
      join public.stock k on k.variant_id = v.id
      where v.product_id = s.product_id
        and v.archived_at is null
        and k.available > 0
    );
end
$$;
