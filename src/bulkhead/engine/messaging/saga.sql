-- name: find_saga
-- One saga.
select id, name, state, input, request_hash, result, error, fence, owner, attempts, created_at,
  updated_at, owner is not null and leased_until > clock_timestamp() as leased,
  deadline_at < clock_timestamp() as overdue
from bulkhead.sagas
where id = $1

-- name: claim_saga
-- Take over one open saga; its fence moves on, so that whoever had it can end it no more.
update bulkhead.sagas
set fence = fence + 1,
  owner = $2,
  leased_until = clock_timestamp() + make_interval(secs => $3),
  attempts = case when $4 then 0 else attempts end,
  state = case state when 'needs_human' then 'running' else state end,
  updated_at = now()
where id = $1
  and (
    (
      state in ('running', 'compensating')
      and (leased_until < clock_timestamp() or owner is null or $4)
    )
    or (state = 'needs_human' and $4)
  )
returning id, name, state, input, request_hash, result, error, fence, owner, attempts, created_at,
  updated_at, true as leased, deadline_at < clock_timestamp() as overdue

-- name: claim_stale_saga
-- Take over the open saga whose lease has run out first.
update bulkhead.sagas
set fence = fence + 1,
  owner = $2,
  leased_until = clock_timestamp() + make_interval(secs => $3),
  attempts = attempts + 1,
  updated_at = now()
where id = (
  select id
  from bulkhead.sagas
  where state in ('running', 'compensating')
    and leased_until < clock_timestamp()
    and name = any($1::text[])
  order by leased_until
  limit 1
  for update skip locked
)
returning id, name, state, input, request_hash, result, error, fence, owner, attempts, created_at,
  updated_at, true as leased, deadline_at < clock_timestamp() as overdue

-- name: release_saga
-- Give a saga back before its lease runs out: to be taken back because of $5, or to a human ($6).
update bulkhead.sagas
set leased_until = clock_timestamp() + make_interval(secs => $4),
  owner = null,
  state = case
    when $6 then 'needs_human'
    when $5::jsonb is not null then 'compensating'
    else state
  end,
  error = coalesce($5::jsonb, error),
  updated_at = now()
where id = $1 and fence = $2 and owner = $3 and state in ('running', 'compensating')

-- name: turn_back
-- Have a saga taken back because of $3, by whoever has it from now on; null when its fence has moved.
update bulkhead.sagas
set state = 'compensating', error = $3::jsonb, updated_at = now()
where id = $1 and fence = $2 and state in ('running', 'compensating')
returning true

-- name: refuse_saga
-- Record a saga that its first step refused, so that a repeat gets the same answer.
insert into bulkhead.sagas
  (id, name, state, input, request_hash, error, leased_until, deadline_at)
values ($1, $2, 'compensated', $3::jsonb, $4, $5::jsonb, now(), now())
on conflict do nothing
returning true

-- name: list_markers
-- The markers of one saga.
select step, state, input_hash, output
from bulkhead.saga_steps
where saga_id = $1

-- name: forbid_step
-- Mark a step undone before it ran, so that it never will.
insert into bulkhead.saga_steps (saga_id, step, saga, state)
values ($1, $2, $3, 'undone')
on conflict (saga_id, step) do nothing
returning true

-- name: undo_step
-- Mark a step that ran as undone, and say what it had been.
with before as (
  select saga_id, step, state, input_hash, output
  from bulkhead.saga_steps
  where saga_id = $1 and step = $2
  for update
)
update bulkhead.saga_steps s
set state = 'undone'
from before
where s.saga_id = before.saga_id and s.step = before.step
returning before.state as was, before.input_hash, before.output

-- name: list_unsettled
-- Markers of steps whose saga should long have ended, a page at a time.
select saga_id, step, state, created_at
from bulkhead.saga_steps
where settled_at is null
  and created_at < clock_timestamp() - make_interval(secs => $2)
  and saga = $1
  and (created_at, saga_id, step) > ($4::timestamptz, $5::uuid, $6::text)
order by created_at, saga_id, step
limit $3

-- name: settle_markers
-- Note that the sagas of these markers have ended.
update bulkhead.saga_steps
set settled_at = now()
where saga_id = any($1::uuid[]) and settled_at is null

-- name: list_states
-- How the given sagas stand.
select id, state
from bulkhead.sagas
where id = any($1::uuid[])

-- name: list_sagas
-- Sagas by state, newest first.
select id, name, state, input, request_hash, result, error, fence, owner, attempts, created_at,
  updated_at, owner is not null and leased_until > clock_timestamp() as leased,
  deadline_at < clock_timestamp() as overdue
from bulkhead.sagas
where ($1::text is null or state = $1)
  and ($2::text is null or name = $2)
order by created_at desc, id desc
limit $3

-- name: prune_sagas
-- Forget sagas that ended long ago, a batch at a time.
delete from bulkhead.sagas
where id in (
  select id
  from bulkhead.sagas
  where state in ('completed', 'compensated')
    and created_at < now() - make_interval(days => $1)
  order by created_at
  limit $2
)

-- name: prune_markers
-- Forget markers of sagas that ended long ago, a batch at a time.
delete from bulkhead.saga_steps
where (saga_id, step) in (
  select saga_id, step
  from bulkhead.saga_steps
  where settled_at < now() - make_interval(days => $1)
  limit $2
)
