-- name: open_violations
-- The next recorded orphans that nobody has dealt with.
select target_key, source_key
from bulkhead.reference_violations
where reference = $1
  and resolved_at is null
  and ignored_at is null
  and (target_key, source_key) > ($2, $3)
order by target_key, source_key
limit $4

-- name: held_rows
-- Those of the rows that still hold the keys they were recorded with.
select {row_key} as source_key, {column}::text as target_key
from {table}
where {held}
  and {row_in}
  and ({row_key}, {column}::text) in (
    select source_key, target_key from unnest($1::text[], $2::text[]) as o (source_key, target_key)
  )

-- name: empty_column
-- Take the reference out of rows that still hold the keys they were recorded with.
with held as (
  select {row_key} as source_key, {column}::text as target_key
  from {table}
  where {held}
    and {row_in}
    and ({row_key}, {column}::text) in (
      select source_key, target_key
      from unnest($1::text[], $2::text[]) as o (source_key, target_key)
    )
  for update
),
changed as (
  update {table}
  set {column} = null
  where {held}
    and {row_in}
    and {row_key} in (select source_key from held)
  returning {row_key} as source_key
)
select source_key, target_key
from changed
join held using (source_key)

-- name: delete_rows
-- Delete rows that still hold the keys they were recorded with.
delete from {table}
where {held}
  and {row_in}
  and ({row_key}, {column}::text) in (
    select source_key, target_key from unnest($1::text[], $2::text[]) as o (source_key, target_key)
  )
returning {row_key} as source_key, {column}::text as target_key

-- name: close_violations
-- Note how orphans were repaired.
update bulkhead.reference_violations v
set resolved_at = now(),
  resolution = $4
from unnest($1::text[], $2::text[]) as o (source_key, target_key)
where v.reference = $3
  and v.target_key = o.target_key
  and v.source_key = o.source_key
  and v.resolved_at is null

-- name: ignore_violations
-- Note why orphans are left as they are.
update bulkhead.reference_violations v
set ignored_at = now(),
  reason = $4
from unnest($1::text[], $2::text[]) as o (source_key, target_key)
where v.reference = $3
  and v.target_key = o.target_key
  and v.source_key = o.source_key
