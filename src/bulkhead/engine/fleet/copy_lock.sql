-- name: lock_copy
-- Be the only session that brings rows into a tenant; false when another one does.
select pg_catalog.pg_try_advisory_lock(
  pg_catalog.hashtextextended('rows come into ' || $1::uuid, 0)
)

-- name: unlock_copies
-- Let others do so.
select pg_catalog.pg_advisory_unlock_all()
