-- name: column_types_postgresql
-- The type of each column; a domain counts as what it is made of.
select n.nspname || '.' || c.relname as label, a.attname::text as name,
  coalesce(b.typname, t.typname)::text as type
from pg_catalog.pg_attribute a
join pg_catalog.pg_class c on c.oid = a.attrelid
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
join pg_catalog.pg_type t on t.oid = a.atttypid
left join pg_catalog.pg_type b on b.oid = t.typbasetype
where c.relkind in ('r', 'p')
  and n.nspname in ('public', 'private')
  and a.attnum > 0
  and not a.attisdropped

-- name: column_types_mysql
-- The type of each column.
select table_name as label, column_name as name, data_type as type
from information_schema.columns
where table_schema = database()
