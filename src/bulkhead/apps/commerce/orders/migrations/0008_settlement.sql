-- What becomes of open orders: paid, tried again, cancelled, refunded.

create function private.lock_orders(p uuid[]) returns void
language sql set search_path = ''
as $$
  select 1
  from public.orders o
  where o.id = any (p)
  order by o.id
  for no key update
$$;
comment on function private.lock_orders(uuid[]) is
  'Lock orders in the common order, in a statement of its own: what follows sees what others did.';

create function private.check_settle_batch(p jsonb) returns void
language plpgsql stable set search_path = ''
as $$
declare
  malformed text;
begin
  select coalesce(r.order_id::text, 'without an id') into malformed
  from jsonb_to_recordset(p) as r (
    order_id uuid, attempt_no integer, outcome text, provider_ref text, amount numeric, currency text
  )
  left join public.payment_attempts a
    on a.order_id = r.order_id and a.attempt_no = r.attempt_no
  where a.order_id is null
    or r.outcome is null
    or r.outcome not in ('succeeded', 'declined', 'unknown')
    or r.outcome = 'succeeded'
      and (r.provider_ref is null or r.amount is null or r.currency is null)
  limit 1;
  if malformed is null then
    select r.order_id::text into malformed
    from jsonb_to_recordset(p) as r (order_id uuid)
    group by r.order_id
    having count(*) > 1
    limit 1;
  end if;
  if malformed is not null then
    raise exception
      'order % cannot be settled: the report is malformed, names no attempt or stands twice',
      malformed
      using errcode = 'invalid_parameter_value';
  end if;
end
$$;
comment on function private.check_settle_batch(jsonb) is
  'Raise an error that names an order of the batch whose report is malformed or fits no attempt.';

create function private.settle_orders(p jsonb)
returns table (
  order_id uuid, attempt_no integer, state text, attempt_state text, changed boolean,
  refund_id uuid, summary jsonb
)
language plpgsql set search_path = ''
as $$
#variable_conflict use_column
declare
  orders uuid[] := array(select r.order_id from jsonb_to_recordset(p) as r (order_id uuid));
  changed uuid[];
begin
  perform private.check_settle_batch(p);
  perform private.lock_orders(orders);

  with reported as materialized (
    select a.order_id, a.attempt_no, o.user_id, o.order_number, o.state as order_state,
      a.state as attempt_state, r.outcome, r.provider_ref, r.decline_code, r.amount, r.currency,
      case
        when a.state not in ('started', 'unknown') then a.state
        when r.outcome <> 'succeeded' then r.outcome
        when r.amount = a.amount and r.currency = a.currency and not exists (
          select 1
          from public.payment_attempts t
          where t.order_id = a.order_id
            and t.state = 'succeeded'
        ) then 'succeeded'
        else 'mismatch'
      end as becomes
    from jsonb_to_recordset(p) as r (
      order_id uuid, attempt_no integer, outcome text, provider_ref text, decline_code text,
      amount numeric, currency text
    )
    join public.orders o on o.id = r.order_id
    join public.payment_attempts a
      on a.order_id = r.order_id and a.attempt_no = r.attempt_no
  ), settled as (
    update public.payment_attempts a
    set state = r.becomes,
      provider_ref = coalesce(r.provider_ref, a.provider_ref),
      decline_code = r.decline_code,
      settled_at = case when r.becomes <> 'unknown' then now() end
    from reported r
    where a.order_id = r.order_id
      and a.attempt_no = r.attempt_no
      and a.state <> r.becomes
    returning a.order_id, a.attempt_no, a.state, a.provider, a.provider_ref, a.amount, a.currency
  ), paid as (
    insert into public.payments (order_id, attempt_no, provider, provider_ref, amount, currency)
    select s.order_id, s.attempt_no, s.provider, s.provider_ref, s.amount, s.currency
    from settled s
    where s.state = 'succeeded'
    returning id, order_id, amount, currency
  ), confirmed as (
    update public.orders o
    set state = 'confirmed'
    from paid d
    where o.id = d.order_id
      and o.state = 'pending'
    returning o.id
  ), used as (
    update public.coupon_usage u
    set state = 'used'
    from confirmed c
    where u.order_id = c.id
      and u.state = 'held'
    returning u.coupon_id
  ), claims as materialized (
    select u.coupon_id, count(*)::integer as number from used u group by u.coupon_id
  ), locked as materialized (
    select c.id
    from public.coupons c
    where c.id = any (array(select n.coupon_id from claims n))
    order by c.id
    for no key update
  ), counted as (
    update public.coupons c
    set held_count = c.held_count - n.number, used_count = c.used_count + n.number
    from claims n
    join locked k on k.id = n.coupon_id
    where c.id = n.coupon_id
  ), returned as (
    insert into public.refunds (order_id, payment_id, request_key, amount, currency, reason)
    select d.order_id, d.id, 'late', d.amount, d.currency, 'charged after the order had ended'
    from paid d
    join reported r on r.order_id = d.order_id
    where r.order_state <> 'pending'
      and d.amount > 0
  ), raised as (
    insert into public.support_tickets
      (user_id, order_id, topic, subject, body, opened_by, priority)
    select r.user_id, r.order_id, 'payment', 'Payment of order ' || r.order_number || ' does not fit',
      format('The provider reports %s %s under %s for attempt %s, which is %s.', r.amount,
        r.currency, r.provider_ref, r.attempt_no, r.becomes),
      'system', 'high'
    from reported r
    where r.outcome = 'succeeded'
      and r.becomes <> 'succeeded'
      and not exists (
        select 1
        from public.support_tickets t
        where t.order_id = r.order_id
          and t.opened_by = 'system'
          and t.topic = 'payment'
          and t.state in ('open', 'waiting')
      )
  )
  select array_agg(s.order_id) into changed from settled s;

  return query
    select a.order_id, a.attempt_no, s.state, a.state, a.order_id = any (coalesce(changed, '{}')),
      f.id, s.summary
    from jsonb_to_recordset(p) as r (order_id uuid, attempt_no integer)
    join public.payment_attempts a
      on a.order_id = r.order_id and a.attempt_no = r.attempt_no
    join private.summarize_orders(orders) s on s.order_id = a.order_id
    left join public.refunds f on f.order_id = a.order_id and f.request_key = 'late';
end
$$;
comment on function private.settle_orders(jsonb) is
  'Take in what providers report: [{order_id, attempt_no, outcome: succeeded, declined or unknown,
provider_ref, amount, currency, decline_code}]. Success confirms a pending order, turns its claim on
a coupon into a use and books the payment; on an order that has ended it asks for the money to be
given back (refund_id). Another amount makes the attempt a mismatch and opens a ticket. One row each;
changed is false for what was settled before.';

create function private.start_attempts(p jsonb)
returns table (
  order_id uuid, code text, attempt_no integer, idempotency_key text, amount numeric, currency text
)
language plpgsql set search_path = ''
as $$
#variable_conflict use_column
declare
  orders uuid[] := array(
    select distinct r.order_id from jsonb_to_recordset(p) as r (order_id uuid)
  );
begin
  perform private.lock_orders(orders);

  return query
    with asked as materialized (
      select distinct on (o.id) o.id, o.total, o.currency, r.provider, coalesce(t.last_no, 0) as last_no,
        case
          when o.state <> 'pending' then 'not_pending'
          when t.open then 'in_flight'
          when o.deadline_at <= now() then 'too_late'
          when t.last_no >= coalesce(r.max_attempts, 3) then 'too_many'
          else 'started'
        end as code
      from jsonb_to_recordset(p) as r (order_id uuid, provider text, max_attempts integer)
      join public.orders o on o.id = r.order_id
      left join lateral (
        select max(a.attempt_no) as last_no, bool_or(a.state in ('started', 'unknown')) as open
        from public.payment_attempts a
        where a.order_id = o.id
      ) t on true
    ), started as (
      insert into public.payment_attempts (order_id, attempt_no, provider, amount, currency)
      select a.id, a.last_no + 1, a.provider, a.total, a.currency
      from asked a
      where a.code = 'started'
      returning order_id, attempt_no, idempotency_key
    )
    select a.id, a.code, coalesce(s.attempt_no, a.last_no), s.idempotency_key, a.total::numeric,
      a.currency::text
    from asked a
    left join started s on s.order_id = a.id;
end
$$;
comment on function private.start_attempts(jsonb) is
  'Try again to be paid: [{order_id, provider, max_attempts}]. One row for each order there is, with
the code started and a new key, or not_pending, in_flight, too_late or too_many.';

create function private.cancel_orders(p jsonb)
returns table (
  order_id uuid, state text, state_before text, changed boolean, refund_id uuid,
  refund_amount numeric
)
language plpgsql set search_path = ''
as $$
#variable_conflict use_column
begin
  perform private.lock_orders(array(
    select r.order_id from jsonb_to_recordset(p) as r (order_id uuid)
  ));

  return query
    with asked as materialized (
      select distinct on (r.order_id) r.order_id, coalesce(r.state, 'cancelled') as becomes,
        r.reason, o.state
      from jsonb_to_recordset(p) as r (order_id uuid, state text, reason text)
      left join public.orders o on o.id = r.order_id
    ), ended as (
      update public.orders o
      set state = a.becomes, end_reason = a.reason
      from asked a
      where o.id = a.order_id
        and (o.state = 'pending' or o.state = 'confirmed' and a.becomes = 'cancelled')
      returning o.id, o.state
    ), live as materialized (
      select u.order_id, u.coupon_id, u.state
      from public.coupon_usage u
      join ended e on e.id = u.order_id
      where u.state in ('held', 'used')
    ), given_back as (
      update public.coupon_usage u
      set state = 'released'
      from live l
      where u.order_id = l.order_id
    ), locked as materialized (
      select c.id
      from public.coupons c
      where c.id = any (array(select l.coupon_id from live l))
      order by c.id
      for no key update
    ), counted as (
      update public.coupons c
      set held_count = c.held_count - n.held, used_count = c.used_count - n.used
      from (
        select l.coupon_id, count(*) filter (where l.state = 'held')::integer as held,
          count(*) filter (where l.state = 'used')::integer as used
        from live l
        group by l.coupon_id
      ) n
      join locked k on k.id = n.coupon_id
      where c.id = n.coupon_id
    ), refunded as (
      insert into public.refunds (order_id, payment_id, request_key, amount, currency, reason)
      select d.order_id, d.id, 'cancel', d.amount - d.refunded_amount, d.currency,
        'the order was cancelled'
      from ended e
      join public.payments d on d.order_id = e.id
      where d.amount > d.refunded_amount
      returning order_id, id, amount
    )
    select a.order_id, coalesce(e.state, a.state, 'missing'), a.state, e.id is not null, f.id,
      f.amount::numeric
    from asked a
    left join ended e on e.id = a.order_id
    left join refunded f on f.order_id = a.order_id;
end
$$;
comment on function private.cancel_orders(jsonb) is
  'End orders: [{order_id, state: cancelled or rejected, reason}]. Only a pending order is rejected;
pending and confirmed ones are cancelled. Their claims on coupons are given back, and what was paid is
asked to be refunded. One row for each; changed is false for what had ended or was sent before.';

create function private.request_refunds(p jsonb)
returns table (order_id uuid, request_key text, code text, refund_id uuid, state text, amount numeric)
language plpgsql set search_path = ''
as $$
#variable_conflict use_column
begin
  perform private.lock_orders(array(
    select r.order_id from jsonb_to_recordset(p) as r (order_id uuid)
  ));

  insert into public.refunds
    (order_id, payment_id, request_key, return_id, amount, currency, reason, requested_by)
  select r.order_id, d.id, r.request_key, r.return_id,
    coalesce(r.amount, d.amount - d.refunded_amount), d.currency, coalesce(r.reason, ''),
    r.requested_by
  from jsonb_to_recordset(p) as r (
    order_id uuid, request_key text, return_id uuid, amount numeric, reason text, requested_by uuid
  )
  join public.payments d on d.order_id = r.order_id
  where coalesce(r.amount, d.amount - d.refunded_amount) between 0.01 and d.amount - d.refunded_amount
  on conflict (order_id, request_key) do nothing;

  return query
    select r.order_id, r.request_key,
      case when f.id is null then 'not_refundable' else 'refunding' end, f.id, f.state,
      f.amount::numeric
    from jsonb_to_recordset(p) as r (order_id uuid, request_key text)
    left join public.refunds f
      on f.order_id = r.order_id and f.request_key = r.request_key;
end
$$;
comment on function private.request_refunds(jsonb) is
  'Ask for money to go back: [{order_id, request_key, amount, reason, return_id, requested_by}], all
that is left when there is no amount. The same request_key is the same refund. One row for each:
refunding, or not_refundable when that much was not paid or went back before.';

-- migrate:down
drop function private.request_refunds(jsonb);
drop function private.cancel_orders(jsonb);
drop function private.start_attempts(jsonb);
drop function private.settle_orders(jsonb);
drop function private.check_settle_batch(jsonb);
drop function private.lock_orders(uuid[]);
