-- Stock that comes back from orders, and what staff count, receive and write off.

create function private.check_returned_stock(p jsonb) returns void
language plpgsql stable set search_path = ''
as $$
declare
  excessive record;
begin
  select m.order_id, m.variant_id into excessive
  from public.inventory_movements m
  where (m.order_id, m.variant_id) in (
    select r.order_id, r.variant_id
    from jsonb_to_recordset(p) as r (order_id uuid, variant_id uuid)
  )
  group by m.order_id, m.variant_id
  having sum(m.quantity) > 0
  limit 1;
  if found then
    raise exception 'order % cannot give back more of variant % than it took',
      excessive.order_id, excessive.variant_id
      using errcode = 'invalid_parameter_value';
  end if;
end
$$;
comment on function private.check_returned_stock(jsonb) is
  'Raise an error that names an order of the batch of which more came back than it took.';

create function private.restock(p jsonb)
returns table (order_id uuid, variant_id uuid, return_id uuid, applied boolean)
language plpgsql set search_path = '' set enable_seqscan = off
  set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
begin
  if exists (
    select 1
    from jsonb_to_recordset(p) as r (reason text)
    where r.reason is null or r.reason not in ('cancel', 'return')
  ) then
    raise exception 'stock of orders comes back by cancel or return only'
      using errcode = 'invalid_parameter_value';
  end if;

  perform 1
  from public.stock s
  where s.variant_id in (
    select r.variant_id from jsonb_to_recordset(p) as r (variant_id uuid)
  )
  order by s.variant_id
  for no key update;

  return query
    with asked as materialized (
      select r.order_id, r.variant_id, r.return_id, r.quantity, r.reason, r.actor_id, r.note
      from jsonb_to_recordset(p) as r (
        order_id uuid, variant_id uuid, return_id uuid, quantity integer, reason text,
        actor_id uuid, note text
      )
    ), added as (
      insert into public.inventory_movements
        (order_id, variant_id, return_id, quantity, reason, actor_id, note)
      select a.order_id, a.variant_id, a.return_id, a.quantity, a.reason, a.actor_id, a.note
      from asked a
      on conflict (order_id, variant_id, reason, return_id) where order_id is not null do nothing
      returning order_id, variant_id, reason, return_id, quantity
    ), counted as (
      update public.stock s
      set on_hand = s.on_hand + w.quantity
      from (
        select a.variant_id, sum(a.quantity)::integer as quantity from added a group by a.variant_id
      ) w
      where s.variant_id = w.variant_id
    )
    select a.order_id, a.variant_id, a.return_id, exists (
      select 1
      from added d
      where d.order_id = a.order_id
        and d.variant_id = a.variant_id
        and d.reason = a.reason
        and d.return_id is not distinct from a.return_id
    )
    from asked a;

  perform private.check_returned_stock(p);
end
$$;
comment on function private.restock(jsonb) is
  'Put back [{order_id, variant_id, quantity, reason: cancel or return, return_id, actor_id, note}],
once for each order, variant, reason and return. Raises for more than the order took.';

create function private.adjust_stock(p jsonb)
returns table (
  movement_id uuid, variant_id uuid, applied boolean, on_hand integer, available integer
)
language plpgsql set search_path = '' set enable_seqscan = off
  set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
  applied_ids uuid[];
begin
  perform 1
  from public.stock s
  where s.variant_id in (
    select r.variant_id from jsonb_to_recordset(p) as r (variant_id uuid)
  )
  order by s.variant_id
  for no key update;

  with added as (
    insert into public.inventory_movements (id, variant_id, quantity, reason, actor_id, note)
    select r.movement_id, r.variant_id, r.delta, coalesce(r.reason, 'adjustment'), r.actor_id,
      r.note
    from jsonb_to_recordset(p) as r (
      movement_id uuid, variant_id uuid, delta integer, reason text, actor_id uuid, note text
    )
    on conflict (id) do nothing
    returning id, variant_id, quantity
  ), counted as (
    update public.stock s
    set on_hand = s.on_hand + w.quantity
    from (
      select a.variant_id, sum(a.quantity)::integer as quantity from added a group by a.variant_id
    ) w
    where s.variant_id = w.variant_id
  )
  select coalesce(array_agg(a.id), '{}') into applied_ids from added a;

  return query
    select r.movement_id, s.variant_id, r.movement_id = any (applied_ids), s.on_hand, s.available
    from jsonb_to_recordset(p) as r (movement_id uuid, variant_id uuid)
    join public.stock s on s.variant_id = r.variant_id;
end
$$;
comment on function private.adjust_stock(jsonb) is
  'Move stock by [{movement_id, variant_id, delta, reason: receipt, adjustment or write_off,
actor_id, note}], once for each movement_id. What is reserved cannot be taken away.';

-- migrate:down
drop function private.adjust_stock(jsonb);
drop function private.restock(jsonb);
drop function private.check_returned_stock(jsonb);
