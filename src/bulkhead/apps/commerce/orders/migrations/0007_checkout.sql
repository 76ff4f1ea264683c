-- Opening orders: many in one call, each with its items, its coupon and a first attempt to be paid.
--
-- The functions of this and the next file lock orders by id, then coupons by id, and write each
-- coupon once however many orders of the batch claim it. All of them can be repeated.

create function private.check_open_batch(p jsonb) returns void
language plpgsql stable set search_path = ''
as $$
declare
  malformed text;
begin
  select coalesce(o.id::text, 'without an id') into malformed
  from jsonb_to_recordset(p) as o (
    id uuid, user_id uuid, items_total numeric, discount_total numeric, tax_total numeric,
    shipping_total numeric, total numeric, items jsonb
  )
  where o.id is null
    or o.user_id is null
    or o.total is null
    or min_scale(o.total) > 2
    or min_scale(coalesce(o.discount_total, 0)) > 2
    or min_scale(coalesce(o.tax_total, 0)) > 2
    or min_scale(coalesce(o.shipping_total, 0)) > 2
    or case
      when jsonb_typeof(o.items) is distinct from 'array' then true
      else (
        select count(*) = 0
          or sum(i.unit_price * i.quantity) is distinct from o.items_total
          or bool_or(i.unit_price is null or min_scale(i.unit_price) > 2
            or i.quantity is null or i.quantity < 1)
        from jsonb_to_recordset(o.items) as i (unit_price numeric, quantity integer)
      )
    end
  limit 1;
  if malformed is null then
    select o.id::text into malformed
    from jsonb_to_recordset(p) as o (id uuid)
    group by o.id
    having count(*) > 1
    limit 1;
  end if;
  if malformed is not null then
    raise exception 'order % cannot be opened: it is malformed, does not add up or stands twice',
      malformed
      using errcode = 'invalid_parameter_value';
  end if;
end
$$;
comment on function private.check_open_batch(jsonb) is
  'Raise an error that names an order of the batch that is malformed or whose items do not add up.';

-- Without `set search_path`, so that it is inlined where it is called.
create function private.summarize_orders(p uuid[])
returns table (order_id uuid, state text, summary jsonb)
language sql stable
as $$
  select o.id, o.state, pg_catalog.jsonb_build_object(
    'id', o.id,
    'order_number', o.order_number,
    'user_id', o.user_id,
    'state', o.state,
    'currency', o.currency,
    'total', o.total::text,
    'end_reason', o.end_reason,
    'request_hash', o.request_hash,
    'deadline_at', o.deadline_at,
    'created_at', o.created_at,
    'attempt_no', a.attempt_no,
    'attempt_state', a.state,
    'idempotency_key', a.idempotency_key
  )
  from public.orders o
  left join lateral (
    select t.attempt_no, t.state, t.idempotency_key
    from public.payment_attempts t
    where t.order_id = o.id
    order by t.attempt_no desc
    limit 1
  ) a on true
  where o.id = any (p)
$$;
comment on function private.summarize_orders(uuid[]) is
  'What a checkout has to know of orders: state, total and the newest attempt to be paid.';

create function private.claim_coupons(p jsonb, p_orders uuid[])
returns table (order_id uuid, code text)
language plpgsql set search_path = ''
as $$
#variable_conflict use_column
begin
  perform 1
  from public.coupons c
  where c.id in (select o.coupon_id from public.orders o where o.id = any (p_orders))
  order by c.id
  for no key update;

  return query
    with asked as (
      select o.id as order_id, o.user_id, c.id as coupon_id, o.discount_total, c.per_user_limit,
        c.total_limit - c.held_count - c.used_count as remaining,
        coalesce(a.coupon_user_key, o.user_id::text) as user_key,
        a.place,
        c.disabled_at is null
          and now() >= c.starts_at
          and (c.ends_at is null or now() < c.ends_at)
          and o.items_total >= c.min_total
          and (c.currency is null or c.currency = o.currency) as valid
      from rows from (jsonb_to_recordset(p) as (id uuid, coupon_user_key text)) with ordinality
        as a (id, coupon_user_key, place)
      join public.orders o on o.id = a.id
      join public.coupons c on c.id = o.coupon_id
      where o.id = any (p_orders)
    ), numbered as (
      select a.order_id, a.user_id, a.coupon_id, a.discount_total, a.per_user_limit, a.remaining,
        a.user_key, a.place,
        row_number() over (partition by a.coupon_id, a.user_key order by a.place) as turn
      from asked a
      where a.valid
    ), seated as (
      select n.order_id, n.user_id, n.coupon_id, n.discount_total, n.remaining, n.user_key, f.slot,
        row_number() over (partition by n.coupon_id order by n.place) as turn
      from numbered n
      left join lateral (
        select s.slot
        from generate_series(1, n.per_user_limit) as s (slot)
        where not exists (
          select 1
          from public.coupon_usage u
          where u.coupon_id = n.coupon_id
            and u.user_key = n.user_key
            and u.slot = s.slot
            and u.state in ('held', 'used')
        )
        order by s.slot
        offset n.turn - 1
        limit 1
      ) f on true
      where n.per_user_limit is null or f.slot is not null
    ), claimed as (
      insert into public.coupon_usage (order_id, coupon_id, user_id, user_key, slot, discount)
      select s.order_id, s.coupon_id, s.user_id, s.user_key, s.slot, s.discount_total
      from seated s
      where s.remaining is null or s.turn <= s.remaining
      returning order_id, coupon_id
    ), counted as (
      update public.coupons c
      set held_count = c.held_count + n.claims
      from (
        select d.coupon_id, count(*)::integer as claims from claimed d group by d.coupon_id
      ) n
      where c.id = n.coupon_id
    )
    select a.order_id, case
      when not a.valid then 'coupon_invalid'
      when s.order_id is null then 'coupon_used'
      else 'coupon_exhausted'
    end
    from asked a
    left join seated s on s.order_id = a.order_id
    left join claimed d on d.order_id = a.order_id
    where d.order_id is null;
end
$$;
comment on function private.claim_coupons(jsonb, uuid[]) is
  'Claim the coupons of orders just opened, first come first served. One row for each order that
gets none, with the code coupon_invalid, coupon_used or coupon_exhausted.';

create function private.open_orders(p jsonb)
returns table (order_id uuid, state text, code text, summary jsonb)
language plpgsql set search_path = '' set enable_seqscan = off
  set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
  opened uuid[];
  with_coupon uuid[];
begin
  perform private.check_open_batch(p);

  with asked as materialized (
    select o.id, o.user_id, o.email, o.currency, o.items_total,
      coalesce(o.discount_total, 0) as discount_total, coalesce(o.tax_total, 0) as tax_total,
      coalesce(o.shipping_total, 0) as shipping_total, o.total, o.coupon_id, o.coupon_code,
      o.shipping_address, o.billing_address, coalesce(o.shipping_method, 'standard')
        as shipping_method,
      o.customer_note, o.request_hash, coalesce(o.deadline_s, 120) as deadline_s, o.provider,
      o.items
    from jsonb_to_recordset(p) as o (
      id uuid, user_id uuid, email text, currency text, items_total numeric,
      discount_total numeric, tax_total numeric, shipping_total numeric, total numeric,
      coupon_id uuid, coupon_code text, shipping_address jsonb, billing_address jsonb,
      shipping_method text, customer_note text, request_hash text, deadline_s double precision,
      provider text, items jsonb
    )
  ), inserted as (
    insert into public.orders (id, user_id, email, currency, items_total, discount_total, tax_total,
      shipping_total, total, coupon_id, coupon_code, shipping_address, billing_address,
      shipping_method, customer_note, request_hash, deadline_at)
    select a.id, a.user_id, a.email, a.currency, a.items_total, a.discount_total, a.tax_total,
      a.shipping_total, a.total, a.coupon_id, a.coupon_code, a.shipping_address, a.billing_address,
      a.shipping_method, a.customer_note, a.request_hash,
      now() + make_interval(secs => a.deadline_s)
    from asked a
    order by a.id
    on conflict (id) do nothing
    returning id, total, currency, coupon_id
  ), lined as (
    insert into public.order_items (order_id, line_number, product_id, variant_id, sku, title,
      variant_title, image_url, unit_price, quantity)
    select n.id, i.line_number, i.product_id, i.variant_id, i.sku, i.title,
      coalesce(i.variant_title, ''), i.image_url, i.unit_price, i.quantity
    from inserted n
    join asked a on a.id = n.id,
      rows from (jsonb_to_recordset(a.items) as (
        product_id uuid, variant_id uuid, sku text, title text, variant_title text,
        image_url text, unit_price numeric, quantity integer
      )) with ordinality as i (product_id, variant_id, sku, title, variant_title, image_url,
        unit_price, quantity, line_number)
  ), attempted as (
    insert into public.payment_attempts (order_id, attempt_no, provider, amount, currency)
    select n.id, 1, a.provider, n.total, n.currency
    from inserted n
    join asked a on a.id = n.id
  )
  select array_agg(n.id), array_agg(n.id) filter (where n.coupon_id is not null)
  into opened, with_coupon
  from inserted n;

  if with_coupon is not null then
    return query
      select c.order_id, 'refused', c.code, null::jsonb
      from private.claim_coupons(p, with_coupon) c;
    delete from public.orders o
    where o.id = any (with_coupon)
      and not exists (select 1 from public.coupon_usage u where u.order_id = o.id);
  end if;

  return query
    select s.order_id, case when s.order_id = any (opened) then 'opened' else 'exists' end,
      null::text, s.summary
    from private.summarize_orders(array(
      select o.id from jsonb_to_recordset(p) as o (id uuid)
    )) s;
end
$$;
comment on function private.open_orders(jsonb) is
  'Open pending orders from [{id, user_id, email, currency, items_total, discount_total, tax_total,
shipping_total, total, coupon_id, coupon_code, coupon_user_key, shipping_address, billing_address,
shipping_method, customer_note, request_hash, deadline_s, provider, items: [{product_id, variant_id,
sku, title, variant_title, image_url, unit_price, quantity}]}]. One row for each: opened, exists
(its summary has the request_hash to compare), or refused with a code and then not written.';

-- migrate:down
drop function private.open_orders(jsonb);
drop function private.claim_coupons(jsonb, uuid[]);
drop function private.summarize_orders(uuid[]);
drop function private.check_open_batch(jsonb);
