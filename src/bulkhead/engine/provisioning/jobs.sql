-- name: add_job
-- A new job; nothing when the tenant has an open one.
insert into bulkhead.provisioning_jobs
  (id, tenant, fleet, mode, kind, label, wishes, request_hash, sealed_config, message, steps)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
on conflict (tenant) where state in ('queued', 'running', 'undoing') do nothing
returning id, tenant, fleet, mode, kind, label, wishes, request_hash, sealed_config, state, step,
  progress, message, tables_created, total_tables, server, database, source, error,
  cancel_requested_at is not null as cancelling, attempts, fence, revision, created_at, updated_at,
  finished_at

-- name: find_job
-- One job.
select id, tenant, fleet, mode, kind, label, wishes, request_hash, sealed_config, state, step,
  progress, message, tables_created, total_tables, server, database, source, error,
  cancel_requested_at is not null as cancelling, attempts, fence, revision, created_at, updated_at,
  finished_at
from bulkhead.provisioning_jobs
where id = $1

-- name: find_last_job
-- The job of a tenant that was begun last.
select id, tenant, fleet, mode, kind, label, wishes, request_hash, sealed_config, state, step,
  progress, message, tables_created, total_tables, server, database, source, error,
  cancel_requested_at is not null as cancelling, attempts, fence, revision, created_at, updated_at,
  finished_at
from bulkhead.provisioning_jobs
where tenant = $1
order by created_at desc, id desc
limit 1

-- name: lock_last_job
-- The same, which does not end before the transaction does.
select id, tenant, fleet, mode, kind, label, wishes, request_hash, sealed_config, state, step,
  progress, message, tables_created, total_tables, server, database, source, error,
  cancel_requested_at is not null as cancelling, attempts, fence, revision, created_at, updated_at,
  finished_at
from bulkhead.provisioning_jobs
where tenant = $1
order by created_at desc, id desc
limit 1
for share

-- name: take_back_job
-- Never mind a job that was started in this transaction.
delete from bulkhead.provisioning_jobs
where id = $1

-- name: list_jobs
-- Jobs by state, newest first.
select id, tenant, fleet, mode, kind, label, wishes, request_hash, sealed_config, state, step,
  progress, message, tables_created, total_tables, server, database, source, error,
  cancel_requested_at is not null as cancelling, attempts, fence, revision, created_at, updated_at,
  finished_at
from bulkhead.provisioning_jobs
where ($1::text is null or fleet = $1)
  and ($2::text is null or state = $2)
order by created_at desc, id desc
limit $3

-- name: list_revisions
-- How often each of some jobs has changed.
select id, revision
from bulkhead.provisioning_jobs
where id = any ($1::uuid[])

-- name: cancel_job
-- Ask whoever works on a job to take it back.
update bulkhead.provisioning_jobs
set cancel_requested_at = coalesce(cancel_requested_at, now()),
  due_at = least(due_at, now())
where id = $1
  and state in ('queued', 'running')
returning id

-- name: claim_jobs
-- Take over jobs that are due and nobody works on; each fence moves on. Those that a newer release
-- has taken up are left to it.
update bulkhead.provisioning_jobs j
set state = case j.state when 'queued' then 'running' else j.state end,
  steps = $5,
  fence = j.fence + 1,
  attempts = j.attempts + 1,
  owner = $2,
  leased_until = clock_timestamp() + make_interval(secs => $3)
from (
  select id
  from bulkhead.provisioning_jobs
  where state in ('queued', 'running', 'undoing')
    and due_at <= clock_timestamp()
    and (leased_until is null or leased_until < clock_timestamp())
    and fleet = any ($1::text[])
    and steps <= $5
  order by due_at
  limit $4
  for update skip locked
) due
where j.id = due.id
returning j.id, j.tenant, j.fleet, j.mode, j.kind, j.label, j.wishes, j.request_hash,
  j.sealed_config, j.state, j.step, j.progress, j.message, j.tables_created, j.total_tables,
  j.server, j.database, j.source, j.error, j.cancel_requested_at is not null as cancelling,
  j.attempts, j.fence, j.revision, j.created_at, j.updated_at, j.finished_at

-- name: renew_lease
-- Keep a job for longer; nothing when somebody else has it.
update bulkhead.provisioning_jobs
set leased_until = clock_timestamp() + make_interval(secs => $3)
where id = $1
  and fence = $2
  and finished_at is null
returning id, cancel_requested_at is not null as cancelling

-- name: note_progress
-- Say how far a job has come; nothing when somebody else has it.
update bulkhead.provisioning_jobs
set step = $3,
  progress = greatest(progress, $4),
  message = $5,
  tables_created = $6,
  total_tables = $7,
  leased_until = clock_timestamp() + make_interval(secs => $8)
where id = $1
  and fence = $2
  and finished_at is null
returning cancel_requested_at is not null as cancelling

-- name: note_place
-- Say where the database of a job is, and that it is being opened, before anything is made there.
update bulkhead.provisioning_jobs
set server = $3,
  database = $4,
  source = $5,
  step = $6,
  progress = greatest(progress, $7),
  message = $8
where id = $1
  and fence = $2
  and state = 'running'
returning cancel_requested_at is not null as cancelling

-- name: postpone_job
-- Give a job back, to be tried again later.
update bulkhead.provisioning_jobs
set state = case state when 'running' then 'queued' else state end,
  owner = null,
  leased_until = null,
  due_at = case
    when cancel_requested_at is not null and state = 'running' then now()
    else clock_timestamp() + make_interval(secs => $3)
  end,
  message = $4
where id = $1
  and fence = $2
  and finished_at is null
returning id

-- name: wait_job
-- Give a job back that waits for another system, or whose worker is stopped: nothing failed, so that
-- it counts as no attempt.
update bulkhead.provisioning_jobs
set state = case state when 'running' then 'queued' else state end,
  owner = null,
  leased_until = null,
  due_at = case
    when cancel_requested_at is not null and state = 'running' then now()
    else clock_timestamp() + make_interval(secs => $3)
  end,
  message = $4,
  attempts = greatest(attempts - 1, 0)
where id = $1
  and fence = $2
  and finished_at is null
returning id

-- name: begin_undo
-- From here a job is only taken back; whoever works on it goes on with that.
update bulkhead.provisioning_jobs
set state = 'undoing',
  error = $3,
  message = $4,
  step = coalesce($5, step),
  attempts = 0
where id = $1
  and fence = $2
  and state = 'running'
returning id

-- name: activate
-- Serve the tenant and end its job, unless somebody wishes it cancelled; nothing when either is not
-- as it should be.
with served as (
  update bulkhead.fleet_tenants
  set state = 'active',
    reason = null,
    schema_version = $4,
    schema_fingerprint = $5
  where id = $3
    and state = 'provisioning'
  returning id
)
update bulkhead.provisioning_jobs
set state = 'active',
  step = 'activate',
  progress = 100,
  message = $6,
  tables_created = $7,
  total_tables = $8,
  sealed_config = null,
  owner = null,
  leased_until = null,
  finished_at = now()
where id = $1
  and fence = $2
  and state = 'running'
  and cancel_requested_at is null
  and exists (select from served)
returning id

-- name: finish_job
-- End a job that was taken back; its secret goes.
update bulkhead.provisioning_jobs
set state = $3,
  message = $4,
  error = coalesce($5, error),
  tables_created = $6,
  total_tables = $7,
  sealed_config = null,
  owner = null,
  leased_until = null,
  finished_at = now()
where id = $1
  and fence = $2
  and state = 'undoing'
returning id

-- name: claim_unswept
-- Jobs that were taken back a while ago, whose last worker may have slept through it; for one process
-- each, because a server refuses to drop the same twice at once.
update bulkhead.provisioning_jobs j
set leased_until = clock_timestamp() + make_interval(secs => $4)
from (
  select id
  from bulkhead.provisioning_jobs
  where state in ('failed', 'cancelled')
    and swept_at is null
    and finished_at < clock_timestamp() - make_interval(secs => $1)
    and (leased_until is null or leased_until < clock_timestamp())
    and fleet = any ($2::text[])
  order by finished_at
  limit $3
  for update skip locked
) due
where j.id = due.id
returning j.id, j.tenant, j.fleet, j.mode, j.kind, j.label, j.wishes, j.request_hash,
  j.sealed_config, j.state, j.step, j.progress, j.message, j.tables_created, j.total_tables,
  j.server, j.database, j.source, j.error, j.cancel_requested_at is not null as cancelling,
  j.attempts, j.fence, j.revision, j.created_at, j.updated_at, j.finished_at

-- name: note_swept
-- Nothing is left of a job that was taken back.
update bulkhead.provisioning_jobs
set swept_at = now()
where id = $1
