-- A review that is written just when its product turns out to be delivered is that of a buyer: each
-- of the two looks for the other, so one of them waits.

create function private.share_purchases() returns trigger
language plpgsql set search_path = ''
as $$
begin
  perform pg_advisory_xact_lock_shared(hashtextextended('commerce.purchases', 0));
  return null;
end
$$;
comment on function private.share_purchases() is
  'Trigger before statement: lets any number write reviews while nobody notes purchases.';
create trigger product_reviews_share_purchases before insert on public.product_reviews
  for each statement execute function private.share_purchases();

create or replace function private.verify_purchases(p jsonb) returns integer
language sql set search_path = ''
as $$
  select pg_advisory_xact_lock(hashtextextended('commerce.purchases', 0));

  with delivered as (
    insert into public.verified_purchases (user_id, product_id, order_id, delivered_at)
    select distinct on (d.user_id, d.product_id)
      d.user_id, d.product_id, d.order_id, d.delivered_at
    from jsonb_to_recordset(p) as d (
      user_id uuid, product_id uuid, order_id uuid, delivered_at timestamptz
    )
    join public.products t on t.id = d.product_id
    order by d.user_id, d.product_id, d.delivered_at
    on conflict (user_id, product_id) do nothing
    returning user_id, product_id
  ), marked as (
    update public.product_reviews r
    set verified_purchase = true
    from delivered d
    where r.user_id = d.user_id
      and r.product_id = d.product_id
  )
  select count(*)::integer from delivered
$$;

-- migrate:down
create or replace function private.verify_purchases(p jsonb) returns integer
language sql set search_path = ''
as $$
  with delivered as (
    insert into public.verified_purchases (user_id, product_id, order_id, delivered_at)
    select distinct on (d.user_id, d.product_id)
      d.user_id, d.product_id, d.order_id, d.delivered_at
    from jsonb_to_recordset(p) as d (
      user_id uuid, product_id uuid, order_id uuid, delivered_at timestamptz
    )
    join public.products t on t.id = d.product_id
    order by d.user_id, d.product_id, d.delivered_at
    on conflict (user_id, product_id) do nothing
    returning user_id, product_id
  ), marked as (
    update public.product_reviews r
    set verified_purchase = true
    from delivered d
    where r.user_id = d.user_id
      and r.product_id = d.product_id
  )
  select count(*)::integer from delivered
$$;
drop trigger product_reviews_share_purchases on public.product_reviews;
drop function private.share_purchases();
