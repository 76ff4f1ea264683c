-- name: continue_sweep
-- Take over a sweep that did not end, if pages still follow one another in the same order.
update bulkhead.reference_sweeps
set fence = fence + 1,
  updated_at = now()
where reference = $1
  and path = $2
  and completed_at is null
returning fence, position, rows_total, rows_checked, orphans, tombstoned, started_at

-- name: start_sweep
-- Begin a sweep from the start.
insert into bulkhead.reference_sweeps as s (reference, path, rows_total)
values ($1, $2, $3)
on conflict (reference) do update
set fence = s.fence + 1,
  path = excluded.path,
  position = null,
  rows_total = excluded.rows_total,
  rows_checked = 0,
  orphans = 0,
  tombstoned = 0,
  started_at = now(),
  updated_at = now(),
  completed_at = null
returning fence, position, rows_total, rows_checked, orphans, tombstoned, started_at

-- name: advance_sweep
-- Record how far a sweep has come, unless somebody else has taken it over.
update bulkhead.reference_sweeps
set position = $3,
  rows_checked = $4,
  orphans = $5,
  tombstoned = $6,
  updated_at = now()
where reference = $1 and fence = $2

-- name: complete_sweep
-- Record that a sweep has come to the end.
update bulkhead.reference_sweeps
set completed_at = now(),
  last_complete_at = now(),
  updated_at = now()
where reference = $1 and fence = $2

-- name: record_violations
-- List the rows of a page that refer to keys without a row, and count those not ignored on purpose;
-- one that was closed is open again.
with recorded as (
  insert into bulkhead.reference_violations as v (reference, target_key, source_key)
  select $1, {column}::text, {row_key}
  from {table}
  where {held}
    and {column} = any($2::text[]::{type}[])
    and {within}
  on conflict (reference, target_key, source_key) do update
  set last_seen_at = now(),
    first_seen_at = case when v.resolved_at is null then v.first_seen_at else now() end,
    resolved_at = null,
    resolution = null
  returning v.ignored_at
)
select count(*)
from recorded
where ignored_at is null

-- name: close_vanished
-- Close the violations that a complete sweep has not seen again.
update bulkhead.reference_violations
set resolved_at = now(),
  resolution = 'vanished'
where reference = $1
  and resolved_at is null
  and last_seen_at < $2

-- name: list_sweeps
-- How far the sweeps of this database's references have come.
select reference, rows_total, rows_checked, orphans, tombstoned, started_at, completed_at,
  last_complete_at
from bulkhead.reference_sweeps
order by reference
