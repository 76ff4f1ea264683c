-- name: create_charges
-- The charges, and the keys under which nothing may be charged any more.
create table if not exists charges (
  key text primary key,
  fingerprint text,
  state text not null check (state in ('succeeded', 'declined', 'pending', 'closed')),
  amount text,
  currency text,
  code text,
  provider_ref text,
  metadata text,
  created_at text not null,
  settle_at real,
  settle_code text
) strict

-- name: create_refunds
-- The refunds that were made.
create table if not exists refunds (
  key text primary key,
  charge_key text not null references charges (key),
  amount text not null,
  provider_ref text not null,
  created_at text not null
) strict

-- name: create_refunds_index
-- What was refunded of a charge is found by its key.
create index if not exists refunds_charge on refunds (charge_key)

-- name: create_events
-- The events and how far their delivery got.
create table if not exists events (
  sequence integer primary key,
  body text not null,
  attempts integer not null default 0,
  next_at real not null,
  delivered_at real
) strict

-- name: create_events_index
-- The events that are still to be delivered.
create index if not exists events_due on events (next_at) where delivered_at is null

-- name: create_pending_index
-- The charges that are still to be settled.
create index if not exists charges_pending on charges (settle_at) where state = 'pending'

-- name: find_charge
-- The charge or closed key.
select key, fingerprint, state, amount, currency, code, provider_ref, metadata, created_at,
  settle_code
from charges
where key = :key

-- name: insert_charge
-- Book a charge.
insert into charges (key, fingerprint, state, amount, currency, code, provider_ref, metadata,
  created_at, settle_at, settle_code)
values (:key, :fingerprint, :state, :amount, :currency, :code, :provider_ref, :metadata,
  :created_at, :settle_at, :settle_code)

-- name: close_key
-- Let nothing be charged under a key that is not in the books.
insert into charges (key, state, created_at)
values (:key, 'closed', :created_at)

-- name: list_pending
-- The keys of the charges whose outcome is due.
select key
from charges
where state = 'pending'
  and settle_at <= :now
order by settle_at

-- name: settle_charge
-- Book the outcome of a pending charge.
update charges
set state = :state, code = :code
where key = :key
  and state = 'pending'

-- name: find_refund
-- The refund made under a key.
select charge_key, amount, provider_ref
from refunds
where key = :key

-- name: list_refunded
-- The amounts that were given back of a charge.
select amount
from refunds
where charge_key = :charge_key

-- name: insert_refund
-- Book a refund.
insert into refunds (key, charge_key, amount, provider_ref, created_at)
values (:key, :charge_key, :amount, :provider_ref, :created_at)

-- name: next_sequence
-- The number of the event that comes next.
select coalesce(max(sequence), 0) + 1
from events

-- name: insert_event
-- Have an event delivered.
insert into events (sequence, body, next_at)
values (:sequence, :body, :next_at)

-- name: claim_events
-- Take events that are due for a while, so that no other process delivers them meanwhile.
update events
set next_at = :lease_until
where sequence in (
  select sequence
  from events
  where delivered_at is null
    and next_at <= :now
    and attempts < :attempts_max
  order by next_at, sequence
  limit :batch
)
returning sequence, body, attempts

-- name: mark_delivered
-- The receiver has accepted the event.
update events
set delivered_at = :now, attempts = attempts + 1
where sequence = :sequence

-- name: mark_failed
-- The receiver has not accepted the event; it is sent again later.
update events
set attempts = attempts + 1, next_at = :next_at
where sequence = :sequence

-- name: make_due
-- Let everything that waits happen now.
update events
set next_at = 0
where delivered_at is null

-- name: next_due
-- When there is something to deliver or to settle next.
select min(due)
from (
  select min(next_at) as due
  from events
  where delivered_at is null
    and attempts < :attempts_max
  union all
  select min(settle_at)
  from charges
  where state = 'pending'
)
