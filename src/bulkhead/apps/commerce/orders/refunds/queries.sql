-- name: list_refunds
-- Refunds with the key of the charge that they take back from.
select f.id, f.order_id, f.amount, f.currency, f.state, a.idempotency_key
from public.refunds f
join public.payments p on p.id = f.payment_id
join public.payment_attempts a on a.order_id = p.order_id and a.attempt_no = p.attempt_no
where f.id = any($1::uuid[])

-- name: settle_refunds
-- Note what became of refunds; those that were settled before stay as they are.
update public.refunds f
set state = r.state,
  provider_ref = coalesce(r.provider_ref, f.provider_ref),
  settled_at = now()
from jsonb_to_recordset($1::jsonb) as r (refund_id uuid, state text, provider_ref text)
where f.id = r.refund_id
  and f.state = 'requested'

-- name: list_due
-- Refunds that were asked for a while ago and are not settled.
select id
from public.refunds
where state = 'requested'
  and created_at < now() - make_interval(secs => $1)
order by created_at
limit $2

-- name: request_refund
-- Ask for money of one order to go back.
select order_id, request_key, code, refund_id, state, amount
from private.request_refunds($1::jsonb)
