-- What becomes of open orders: paid, tried again, cancelled, refunded.
--
-- What is shared is locked in a statement of its own: only what comes after it sees what others did
-- meanwhile, and an update that follows from an old version to a locked one can deadlock.

create function private.check_settle_batch(p jsonb) returns void
language plpgsql stable set search_path = ''
as $$
declare
  malformed text;
begin
  select coalesce(r.order_id::text, 'without an id') into malformed
  from jsonb_to_recordset(p) as r (
    order_id uuid, attempt_no integer, outcome text, provider_ref text, amount numeric,
    currency text
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

create function private.report_mismatches(p jsonb) returns void
language plpgsql set search_path = ''
as $$
begin
  insert into public.support_tickets (user_id, order_id, topic, subject, body, opened_by, priority)
  select o.user_id, o.id, 'payment', format('Payment of order %s does not fit', o.order_number),
    format('The provider reports %s %s under %s for attempt %s, which is %s.', r.amount, r.currency,
      r.provider_ref, r.attempt_no, a.state),
    'system', 'high'
  from jsonb_to_recordset(p) as r (
    order_id uuid, attempt_no integer, outcome text, provider_ref text, amount numeric,
    currency text
  )
  join public.payment_attempts a on a.order_id = r.order_id and a.attempt_no = r.attempt_no
  join public.orders o on o.id = r.order_id
  where r.outcome = 'succeeded'
    and a.state <> 'succeeded'
    and not exists (
      select 1
      from public.support_tickets t
      where t.order_id = r.order_id
        and t.opened_by = 'system'
        and t.topic = 'payment'
        and t.state in ('open', 'waiting')
    );
end
$$;
comment on function private.report_mismatches(jsonb) is
  'Open a ticket for each success reported of an attempt that did not succeed, unless one is open.';

create function private.settle_claims(p uuid[], p_state text) returns void
language plpgsql set search_path = ''
as $$
declare
  live uuid[];
  claimed uuid[];
begin
  select array_agg(u.order_id), array_agg(u.coupon_id) into live, claimed
  from public.coupon_usage u
  where u.order_id = any (p)
    and (u.state = 'held' or u.state = 'used' and p_state = 'released');
  if live is null then
    return;
  end if;

  perform 1
  from public.coupons c
  where c.id = any (claimed)
  order by c.id
  for no key update;

  update public.coupons c
  set held_count = c.held_count - n.held,
    used_count = c.used_count - n.used + case p_state when 'used' then n.held else 0 end
  from (
    select u.coupon_id, count(*) filter (where u.state = 'held')::integer as held,
      count(*) filter (where u.state = 'used')::integer as used
    from public.coupon_usage u
    where u.order_id = any (live)
    group by u.coupon_id
  ) n
  where c.id = n.coupon_id;

  update public.coupon_usage u
  set state = p_state
  where u.order_id = any (live);
end
$$;
comment on function private.settle_claims(uuid[], text) is
  'Turn what the orders claim of coupons into uses, or give it back (used, released), and count it.
The orders are locked by the caller.';

create function private.book_payments(paid uuid[], confirmed uuid[], with_coupon boolean)
returns void
language plpgsql set search_path = ''
as $$
begin
  insert into public.payments (order_id, attempt_no, provider, provider_ref, amount, currency)
  select a.order_id, a.attempt_no, a.provider, a.provider_ref, a.amount, a.currency
  from public.payment_attempts a
  where a.order_id = any (paid)
    and a.state = 'succeeded';
  update public.orders o
  set state = 'confirmed'
  where o.id = any (confirmed);
  if with_coupon then
    perform private.settle_claims(confirmed, 'used');
  end if;
  if cardinality(paid) > cardinality(confirmed) then
    insert into public.refunds (order_id, payment_id, request_key, amount, currency, reason)
    select d.order_id, d.id, 'late', d.amount, d.currency, 'charged after the order had ended'
    from public.payments d
    where d.order_id = any (paid)
      and d.order_id <> all (confirmed)
      and d.amount > 0;
  end if;
end
$$;
comment on function private.book_payments(uuid[], uuid[], boolean) is
  'Book what was paid, confirm the orders that still were pending and give the rest back.';

create function private.settle_orders(p jsonb)
returns table (
  order_id uuid, attempt_no integer, state text, attempt_state text, changed boolean,
  refund_id uuid, summary jsonb
)
language plpgsql set search_path = '' set enable_seqscan = off
  set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
  orders uuid[] := array(select r.order_id from jsonb_to_recordset(p) as r (order_id uuid));
  changed uuid[];
  becomes text[];
  paid uuid[];
  confirmed uuid[];
  with_coupon boolean;
  doubtful boolean;
begin
  perform private.check_settle_batch(p);
  perform 1
  from public.orders o
  where o.id = any (orders)
  order by o.id
  for no key update;

  select array_agg(s.order_id) filter (where s.becomes <> s.state),
    array_agg(s.becomes) filter (where s.becomes <> s.state),
    array_agg(s.order_id) filter (where s.becomes = 'succeeded' and s.state <> 'succeeded'),
    array_agg(s.order_id) filter (
      where s.becomes = 'succeeded' and s.state <> 'succeeded' and s.order_state = 'pending'
    ),
    bool_or(s.coupon_id is not null),
    bool_or(s.outcome = 'succeeded' and s.becomes <> 'succeeded')
  into changed, becomes, paid, confirmed, with_coupon, doubtful
  from (
    select a.order_id, o.state as order_state, o.coupon_id, r.outcome, a.state, case
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
      order_id uuid, attempt_no integer, outcome text, amount numeric, currency text
    )
    join public.orders o on o.id = r.order_id
    join public.payment_attempts a on a.order_id = r.order_id and a.attempt_no = r.attempt_no
  ) s;

  if changed is not null then
    update public.payment_attempts a
    set state = s.becomes,
      provider_ref = coalesce(r.provider_ref, a.provider_ref),
      decline_code = r.decline_code,
      settled_at = case when s.becomes <> 'unknown' then now() end
    from unnest(changed, becomes) as s (order_id, becomes)
    join jsonb_to_recordset(p) as r (
      order_id uuid, attempt_no integer, provider_ref text, decline_code text
    ) on r.order_id = s.order_id
    where a.order_id = s.order_id
      and a.attempt_no = r.attempt_no;
  end if;

  if paid is not null then
    perform private.book_payments(paid, coalesce(confirmed, '{}'), with_coupon);
  end if;
  if doubtful then
    perform private.report_mismatches(p);
  end if;

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
given back (refund_id). Another amount makes the attempt a mismatch and opens a ticket. One row
each; changed is false for what was settled before.';

create function private.start_attempts(p jsonb)
returns table (
  order_id uuid, code text, attempt_no integer, idempotency_key text, amount numeric, currency text
)
language plpgsql set search_path = '' set enable_seqscan = off
  set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
  orders uuid[] := array(
    select distinct r.order_id from jsonb_to_recordset(p) as r (order_id uuid)
  );
begin
  perform 1
  from public.orders o
  where o.id = any (orders)
  order by o.id
  for no key update;

  return query
    with asked as materialized (
      select distinct on (o.id) o.id, o.total, o.currency, r.provider,
        coalesce(t.last_no, 0) as last_no,
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
language plpgsql set search_path = '' set enable_seqscan = off
  set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
  asked uuid[] := array(
    select distinct r.order_id from jsonb_to_recordset(p) as r (order_id uuid)
  );
  found uuid[];
  states text[];
  ended uuid[];
begin
  with locked as materialized (
    select o.id, o.state
    from public.orders o
    where o.id = any (asked)
    order by o.id
    for no key update
  )
  select array_agg(k.id), array_agg(k.state) into found, states from locked k;

  with changed as (
    update public.orders o
    set state = r.becomes, end_reason = r.reason
    from unnest(found, states) as k (id, state)
    join (
      select distinct on (r.order_id) r.order_id, coalesce(r.state, 'cancelled') as becomes,
        r.reason
      from jsonb_to_recordset(p) as r (order_id uuid, state text, reason text)
    ) r on r.order_id = k.id
    where o.id = k.id
      and (k.state = 'pending' or k.state = 'confirmed' and r.becomes = 'cancelled')
    returning o.id
  )
  select array_agg(c.id) into ended from changed c;

  if ended is not null then
    perform private.settle_claims(ended, 'released');
    insert into public.refunds (order_id, payment_id, request_key, amount, currency, reason)
    select d.order_id, d.id, 'cancel', d.amount - d.refunded_amount, d.currency,
      'the order was cancelled'
    from public.payments d
    where d.order_id = any (ended)
      and d.amount > d.refunded_amount;
  end if;

  return query
    select a.order_id, coalesce(o.state, 'missing'), k.state,
      a.order_id = any (coalesce(ended, '{}')), f.id, f.amount::numeric
    from unnest(asked) as a (order_id)
    left join public.orders o on o.id = a.order_id
    left join unnest(found, states) as k (id, state) on k.id = a.order_id
    left join public.refunds f on f.order_id = a.order_id and f.request_key = 'cancel';
end
$$;
comment on function private.cancel_orders(jsonb) is
  'End orders: [{order_id, state: cancelled or rejected, reason}]. Only a pending order is rejected;
pending and confirmed ones are cancelled. Their claims on coupons are given back, and what was paid
is asked to be refunded. One row for each; changed is false for what had ended or was sent before.';

create function private.request_refunds(p jsonb)
returns table (
  order_id uuid, request_key text, code text, refund_id uuid, state text, amount numeric
)
language plpgsql set search_path = '' set enable_seqscan = off
  set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
begin
  perform 1
  from public.orders o
  where o.id = any (array(select r.order_id from jsonb_to_recordset(p) as r (order_id uuid)))
  order by o.id
  for no key update;

  insert into public.refunds
    (order_id, payment_id, request_key, return_id, amount, currency, reason, requested_by)
  select r.order_id, d.id, r.request_key, r.return_id,
    coalesce(r.amount, d.amount - d.refunded_amount), d.currency, coalesce(r.reason, ''),
    r.requested_by
  from jsonb_to_recordset(p) as r (
    order_id uuid, request_key text, return_id uuid, amount numeric, reason text, requested_by uuid
  )
  join public.payments d on d.order_id = r.order_id
  where coalesce(r.amount, d.amount - d.refunded_amount)
    between 0.01 and d.amount - d.refunded_amount
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
drop function private.book_payments(uuid[], uuid[], boolean);
drop function private.settle_claims(uuid[], text);
drop function private.report_mismatches(jsonb);
drop function private.check_settle_batch(jsonb);
