-- name: list_tables_postgresql
-- The tables with rows of the tenant: columns that can be written, primary key, and what each
-- refers to. Our own bookkeeping is left out.
select n.nspname as schema, c.relname as name,
  array(
    select a.attname::text
    from pg_catalog.pg_attribute a
    where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and a.attgenerated = ''
    order by a.attnum
  ) as columns,
  array(
    select a.attname::text
    from pg_catalog.pg_index i
    cross join unnest(i.indkey) with ordinality k (attnum, position)
    join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attnum = k.attnum
    where i.indrelid = c.oid and i.indisprimary
    order by k.position
  ) as key,
  array(
    select distinct fn.nspname || '.' || f.relname
    from pg_catalog.pg_constraint r
    join pg_catalog.pg_class f on f.oid = r.confrelid
    join pg_catalog.pg_namespace fn on fn.oid = f.relnamespace
    where r.conrelid = c.oid and r.contype = 'f' and r.confrelid <> c.oid
  ) as parents
from pg_catalog.pg_class c
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r', 'p')
  and not c.relispartition
  and n.nspname in ('public', 'private')
  and c.relname not in (
    '_identity', '_provisioning', '_migrations', '_migration_statements', '_bulkhead'
  )
order by n.nspname, c.relname

-- name: list_sequences_postgresql
-- Where each sequence stands.
select schemaname::text as schema, sequencename::text as name, last_value
from pg_catalog.pg_sequences
where schemaname in ('public', 'private', 'bulkhead', 'supabase_migrations')
order by schemaname, sequencename

-- name: list_columns_mysql
-- The columns that can be written, in their order, and their place in the primary key.
select t.table_name as name, c.column_name as column_name, c.data_type as type,
  k.ordinal_position as position
from information_schema.tables t
join information_schema.columns c
  on c.table_schema = t.table_schema and c.table_name = t.table_name
left join information_schema.key_column_usage k
  on k.table_schema = c.table_schema and k.table_name = c.table_name
  and k.column_name = c.column_name and k.constraint_name = 'PRIMARY'
where t.table_schema = database()
  and t.table_type = 'BASE TABLE'
  and coalesce(c.extra, '') not like '%%GENERATED%%'
  and t.table_name not in (
    '_identity', '_provisioning', '_migrations', '_migration_statements', '_bulkhead'
  )
order by t.table_name, c.ordinal_position

-- name: list_references_mysql
-- Which table refers to which.
select distinct table_name as name, referenced_table_name as parent
from information_schema.key_column_usage
where table_schema = database()
  and referenced_table_name is not null
  and referenced_table_name <> table_name
