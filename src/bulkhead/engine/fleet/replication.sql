-- name: find_limits
-- What the administrator's session may do, and the server.
select rolsuper as is_superuser,
  current_setting('wal_level') = 'logical' as is_logical,
  current_setting('server_version_num')::integer as version
from pg_catalog.pg_roles
where rolname = current_user

-- name: list_settings
-- What the server can be set to.
select name
from pg_catalog.pg_settings

-- name: list_moved
-- Every table that moves, and whether rows of it can be told apart.
select n.nspname as schema, c.relname as name,
  array(
    select a.attname::text
    from pg_catalog.pg_attribute a
    where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and a.attgenerated = ''
    order by a.attnum
  ) as columns,
  c.relreplident = 'f' or exists (
    select 1
    from pg_catalog.pg_index i
    where i.indrelid = c.oid and (i.indisprimary or i.indisreplident)
  ) as is_distinct
from pg_catalog.pg_class c
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r', 'p')
  and not c.relispartition
  and c.relpersistence = 'p'
  and n.nspname in ('public', 'private', 'bulkhead', 'supabase_migrations')
order by n.nspname, c.relname

-- name: list_extensions
-- What is installed in a database.
select extname::text as name
from pg_catalog.pg_extension
order by extname

-- name: has_publication
-- Whether there is a publication.
select count(*) > 0 from pg_catalog.pg_publication where pubname = $1

-- name: find_subscription
-- A subscription of the database at hand, and how many of its tables are not copied yet.
select s.subenabled as enabled, s.subslotname::text as slot,
  (
    select count(*)
    from pg_catalog.pg_subscription_rel r
    where r.srsubid = s.oid and r.srsubstate <> 'r'
  ) as copying
from pg_catalog.pg_subscription s
join pg_catalog.pg_database d on d.oid = s.subdbid
where s.subname = $1
  and d.datname = current_database()

-- name: find_slot
-- A slot: how far behind who reads it is.
select active, active_pid, confirmed_flush_lsn::text as confirmed,
  coalesce(pg_wal_lsn_diff(pg_current_wal_lsn(), confirmed_flush_lsn), 0)::bigint as lag_bytes,
  coalesce(pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn), 0)::bigint as kept_bytes
from pg_catalog.pg_replication_slots
where slot_name = $1

-- name: has_confirmed
-- Whether everything up to a place in the log has arrived at the other side.
select coalesce(bool_or(confirmed_flush_lsn >= $2::text::pg_lsn), false)
from pg_catalog.pg_replication_slots
where slot_name = $1

-- name: find_place
-- Where the log ends, with a message in it so that whoever reads it hears of that.
select pg_catalog.pg_logical_emit_message(false, 'bulkhead', '')::text,
  pg_catalog.pg_current_wal_insert_lsn()::text as place

-- name: bring_to_disk
-- A commit that waits for the disk, and with it for all that was committed before.
select pg_catalog.pg_logical_emit_message(true, 'bulkhead', '')

-- name: make_slot
-- A slot for whoever will read from here.
select pg_catalog.pg_create_logical_replication_slot($1, 'pgoutput')
where not exists (select 1 from pg_catalog.pg_replication_slots where slot_name = $1)

-- name: stop_slot
-- End who reads from a slot.
select pg_catalog.pg_terminate_backend(active_pid)
from pg_catalog.pg_replication_slots
where slot_name = $1
  and active_pid is not null

-- name: drop_slot
-- Drop a slot that nobody reads from; nothing when there is none.
select pg_catalog.pg_drop_replication_slot(slot_name)
from pg_catalog.pg_replication_slots
where slot_name = $1
  and active_pid is null

-- name: list_copy_slots
-- Slots for the first copy of tables that were left in the database at hand.
select slot_name::text as name
from pg_catalog.pg_replication_slots
where database = current_database()
  and slot_name like 'pg\_%\_sync\_%'

-- name: list_roles
-- Every role of the server.
select rolname as name
from pg_roles
