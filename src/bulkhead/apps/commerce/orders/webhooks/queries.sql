-- name: receive_event
-- Note an event as received, with its outcome where nothing is left to do; nothing comes back for
-- one that was received before.
with attempt as (
  select state, amount, currency
  from public.payment_attempts
  where order_id = $4 and attempt_no = $5
), judged as (
  select case
    when $3 = 'refund.succeeded' then 'open'
    when not exists (select from attempt) then 'unmatched'
    when $3 = 'payment.failed' and (select state from attempt) = 'declined' then 'unchanged'
    when $3 = 'payment.succeeded' and exists (
      select from attempt where state = 'succeeded' and amount = $6 and currency = $7
    ) then 'unchanged'
    else 'open'
  end as outcome
)
insert into public.payment_events
  (provider, event_id, kind, order_id, attempt_no, payload, outcome, processed_at)
select $1, $2, $3,
  case when outcome <> 'unmatched' then $4::uuid end,
  case when outcome <> 'unmatched' then $5::integer end,
  $8::jsonb,
  nullif(outcome, 'open'),
  case when outcome <> 'open' then now() end
from judged
on conflict (provider, event_id) do nothing
returning coalesce(outcome, 'open') as outcome

-- name: note_outcome
-- Note what an event has led to.
update public.payment_events
set outcome = $3, processed_at = now()
where provider = $1 and event_id = $2
