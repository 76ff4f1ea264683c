-- name: receive_event
-- Note an event as received; nothing comes back for one that was received before.
insert into public.payment_events (provider, event_id, kind, payload)
values ($1, $2, $3, $4::jsonb)
on conflict (provider, event_id) do nothing
returning true

-- name: find_attempt
-- Whether there is such a payment attempt.
select true
from public.payment_attempts
where order_id = $1 and attempt_no = $2

-- name: note_outcome
-- Note what an event has led to.
update public.payment_events
set order_id = $3, attempt_no = $4, outcome = $5, processed_at = now()
where provider = $1 and event_id = $2
