-- Reserving, releasing and committing stock: many orders in one call, each in full or not at all.
--
-- Every function locks reservations by order_id, then stock by variant_id, and writes each row of
-- stock once however many orders of the batch want it. All of them can be repeated. What is shared
-- is locked in a statement of its own: only what comes after it sees what others did meanwhile, and
-- an update that follows from an old version to a locked one can deadlock.

create function private.check_reserve_batch(p jsonb) returns void
language plpgsql stable set search_path = ''
as $$
declare
  malformed text;
begin
  select coalesce(o ->> 'order_id', 'without an id') into malformed
  from jsonb_array_elements(p) as o
  where o ->> 'order_id' is null
    or (o ->> 'ttl_s')::numeric <= 0
    or case
      when jsonb_typeof(o -> 'lines') is distinct from 'array' then true
      when o -> 'lines' = '[]' then true
      else exists (
        select 1
        from jsonb_to_recordset(o -> 'lines') as l (variant_id uuid, quantity integer)
        where l.variant_id is null or l.quantity is null or l.quantity < 1
      )
    end
  limit 1;
  if malformed is null then
    select o ->> 'order_id' into malformed
    from jsonb_array_elements(p) as o
    group by o ->> 'order_id'
    having count(*) > 1
    limit 1;
  end if;
  if malformed is not null then
    raise exception 'order % cannot be reserved: its request is malformed or stands twice',
      malformed
      using errcode = 'invalid_parameter_value';
  end if;
end
$$;
comment on function private.check_reserve_batch(jsonb) is
  'Raise an error that names an order of the batch whose request is malformed or stands twice.';

create function private.choose_refused(
  line_orders uuid[], line_variants uuid[], line_quantities integer[], short_variants uuid[]
) returns uuid[]
language plpgsql set search_path = ''
as $$
declare
  remaining integer[];
  refused uuid[] := '{}';
  contender record;
  fits boolean;
begin
  select array_agg(coalesce(s.available, 0) order by w.place) into remaining
  from unnest(short_variants) with ordinality as w (variant_id, place)
  left join public.stock s on s.variant_id = w.variant_id;

  for contender in
    select l.order_id,
      array_agg(array_position(short_variants, l.variant_id)) as wants,
      array_agg(l.quantity) as quantities
    from unnest(line_orders, line_variants, line_quantities) with ordinality
      as l (order_id, variant_id, quantity, place)
    where l.variant_id = any (short_variants)
    group by l.order_id
    order by min(l.place)
  loop
    fits := true;
    for i in 1 .. cardinality(contender.wants) loop
      fits := fits and contender.quantities[i] <= remaining[contender.wants[i]];
    end loop;
    if fits then
      for i in 1 .. cardinality(contender.wants) loop
        remaining[contender.wants[i]] := remaining[contender.wants[i]] - contender.quantities[i];
      end loop;
    else
      refused := refused || contender.order_id;
    end if;
  end loop;
  return refused;
end
$$;
comment on function private.choose_refused(uuid[], uuid[], integer[], uuid[]) is
  'The orders that go without because variants are short: served in the given order, an order that
does not fit leaves its share to those behind it. The stock is locked by the caller.';

create function private.refuse_orders(
  refused uuid[], line_orders uuid[], line_variants uuid[], line_quantities integer[]
) returns table (order_id uuid, short jsonb)
language plpgsql set search_path = ''
as $$
#variable_conflict use_column
begin
  delete from public.stock_reservations r where r.order_id = any (refused);
  return query
    select l.order_id, jsonb_agg(jsonb_build_object(
      'variant_id', l.variant_id, 'quantity', l.quantity, 'available', coalesce(s.available, 0)
    ) order by l.variant_id)
    from unnest(line_orders, line_variants, line_quantities) as l (order_id, variant_id, quantity)
    left join public.stock s on s.variant_id = l.variant_id
    where l.order_id = any (refused)
      and l.quantity > coalesce(s.available, 0)
    group by l.order_id;
end
$$;
comment on function private.refuse_orders(uuid[], uuid[], uuid[], integer[]) is
  'Take back the empty reservations of refused orders and say what each is short of.';

create function private.reserve_stock(p jsonb)
returns table (order_id uuid, state text, short jsonb)
language plpgsql set search_path = '' set enable_seqscan = off
  set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
  fresh uuid[];
  line_orders uuid[];
  line_variants uuid[];
  line_quantities integer[];
  short_variants uuid[];
  refused uuid[] := '{}';
begin
  perform private.check_reserve_batch(p);

  with held as (
    insert into public.stock_reservations as r (order_id, state, expires_at)
    select o.order_id, 'held', now() + make_interval(secs => coalesce(o.ttl_s, 900))
    from jsonb_to_recordset(p) as o (order_id uuid, ttl_s double precision)
    order by o.order_id
    on conflict (order_id) do update
    set state = 'held', expires_at = excluded.expires_at, updated_at = now()
    where r.state = 'expired'
    returning r.order_id
  )
  select array_agg(h.order_id) into fresh from held h;

  if fresh is not null then
    select array_agg(l.order_id order by l.place, l.variant_id),
      array_agg(l.variant_id order by l.place, l.variant_id),
      array_agg(l.quantity order by l.place, l.variant_id)
    into line_orders, line_variants, line_quantities
    from (
      select (o.value ->> 'order_id')::uuid as order_id, o.place, l.variant_id,
        sum(l.quantity)::integer as quantity
      from jsonb_array_elements(p) with ordinality as o (value, place),
        jsonb_to_recordset(o.value -> 'lines') as l (variant_id uuid, quantity integer)
      group by o.value, o.place, l.variant_id
    ) l
    where l.order_id = any (fresh);

    with locked as materialized (
      select s.variant_id, s.available
      from public.stock s
      where s.variant_id = any (line_variants)
      order by s.variant_id
      for no key update
    )
    select array_agg(w.variant_id) into short_variants
    from (
      select l.variant_id, sum(l.quantity) as quantity
      from unnest(line_variants, line_quantities) as l (variant_id, quantity)
      group by l.variant_id
    ) w
    left join locked k on k.variant_id = w.variant_id
    where w.quantity > coalesce(k.available, 0);

    if short_variants is not null then
      refused :=
        private.choose_refused(line_orders, line_variants, line_quantities, short_variants);
    end if;

    with wanted as materialized (
      select l.order_id, l.variant_id, l.quantity
      from unnest(line_orders, line_variants, line_quantities) as l (order_id, variant_id, quantity)
      where l.order_id <> all (refused)
    ), counted as (
      update public.stock s
      set reserved = s.reserved + w.quantity
      from (
        select variant_id, sum(quantity)::integer as quantity from wanted group by variant_id
      ) w
      where s.variant_id = w.variant_id
    )
    insert into public.stock_reservation_lines (order_id, variant_id, quantity)
    select order_id, variant_id, quantity from wanted;
  end if;

  if refused <> '{}' then
    return query
      select f.order_id, 'refused', f.short
      from private.refuse_orders(refused, line_orders, line_variants, line_quantities) f;
  end if;
  return query
    select r.order_id, r.state, null::jsonb
    from jsonb_to_recordset(p) as o (order_id uuid)
    join public.stock_reservations r on r.order_id = o.order_id;
end
$$;
comment on function private.reserve_stock(jsonb) is
  'Hold stock for [{order_id, lines: [{variant_id, quantity}], ttl_s}], first come first served.
One row for each order: held, refused (short says what is missing), or what an earlier call made of
it: committed, or released when it comes too late. An expired order is tried anew.';

create function private.release_stock(p uuid[], p_state text default 'released')
returns table (order_id uuid, state text)
language plpgsql set search_path = '' set enable_seqscan = off
  set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
  freed uuid[];
begin
  if p_state is null or p_state not in ('released', 'expired') then
    raise exception 'stock is given back as released or expired, not as %', p_state
      using errcode = 'invalid_parameter_value';
  end if;

  with ended as (
    insert into public.stock_reservations as r (order_id, state, expires_at)
    select distinct o.order_id, p_state, now()
    from unnest(p) as o (order_id)
    order by o.order_id
    on conflict (order_id) do update
    set state = p_state, updated_at = now()
    where r.state = 'held' and (p_state = 'released' or r.expires_at <= now())
      or r.state = 'expired' and p_state = 'released'
    returning r.order_id
  )
  select array_agg(e.order_id) into freed from ended e;

  if freed is not null then
    perform 1
    from public.stock s
    where s.variant_id = any (array(
      select l.variant_id
      from public.stock_reservation_lines l
      where l.order_id = any (freed)
    ))
    order by s.variant_id
    for no key update;

    with lines as (
      delete from public.stock_reservation_lines l
      where l.order_id = any (freed)
      returning l.variant_id, l.quantity
    )
    update public.stock s
    set reserved = s.reserved - w.quantity
    from (
      select l.variant_id, sum(l.quantity)::integer as quantity from lines l group by l.variant_id
    ) w
    where s.variant_id = w.variant_id;
  end if;

  return query
    select r.order_id, r.state
    from public.stock_reservations r
    where r.order_id = any (p);
end
$$;
comment on function private.release_stock(uuid[], text) is
  'Give back what the orders hold. As released, also an order that holds nothing, so that a
reservation still on its way comes too late; as expired, only what is past its time.
One row for each order: released, expired, committed, or held when it is not past its time.';

create function private.commit_stock(p uuid[])
returns table (order_id uuid, state text)
language plpgsql set search_path = '' set enable_seqscan = off
  set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
  sold uuid[];
begin
  with locked as materialized (
    select r.order_id, r.state
    from public.stock_reservations r
    where r.order_id = any (p)
    order by r.order_id
    for no key update
  )
  select array_agg(k.order_id) into sold from locked k where k.state = 'held';

  if sold is not null then
    update public.stock_reservations r
    set state = 'committed', updated_at = now()
    where r.order_id = any (sold);
    perform 1
    from public.stock s
    where s.variant_id = any (array(
      select l.variant_id
      from public.stock_reservation_lines l
      where l.order_id = any (sold)
    ))
    order by s.variant_id
    for no key update;

    with lines as materialized (
      select l.order_id, l.variant_id, l.quantity
      from public.stock_reservation_lines l
      where l.order_id = any (sold)
    ), counted as (
      update public.stock s
      set on_hand = s.on_hand - w.quantity, reserved = s.reserved - w.quantity
      from (
        select l.variant_id, sum(l.quantity)::integer as quantity from lines l group by l.variant_id
      ) w
      where s.variant_id = w.variant_id
    )
    insert into public.inventory_movements (variant_id, quantity, reason, order_id)
    select l.variant_id, -l.quantity, 'sale', l.order_id
    from lines l;
  end if;

  return query
    select o.order_id, coalesce(r.state, 'missing')
    from (select distinct u.order_id from unnest(p) as u (order_id)) o
    left join public.stock_reservations r on r.order_id = o.order_id;
end
$$;
comment on function private.commit_stock(uuid[]) is
  'Make sales of what the orders hold. One row for each order: committed, now or before, or
released, expired or missing when there is nothing to sell.';

create function private.list_expired_reservations(p_limit integer)
returns table (order_id uuid, expires_at timestamptz)
language sql stable set search_path = ''
as $$
  select r.order_id, r.expires_at
  from public.stock_reservations r
  where r.state = 'held'
    and r.expires_at <= now()
  order by r.expires_at, r.order_id
  limit p_limit
$$;
comment on function private.list_expired_reservations(integer) is
  'Reservations held past their time, oldest first; ask the orders database before releasing them.';

-- migrate:down
drop function private.list_expired_reservations(integer);
drop function private.commit_stock(uuid[]);
drop function private.release_stock(uuid[], text);
drop function private.reserve_stock(jsonb);
drop function private.refuse_orders(uuid[], uuid[], uuid[], integer[]);
drop function private.choose_refused(uuid[], uuid[], integer[], uuid[]);
drop function private.check_reserve_batch(jsonb);
