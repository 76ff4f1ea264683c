-- name: columns
-- The columns of every table and view of ours, in their order.
select
  n.nspname::text as schema, c.relname::text as relation, c.relkind::text as kind,
  a.attname::text as name,
  format_type(a.atttypid, a.atttypmod) as type,
  format_type(coalesce(nullif(t.typbasetype, 0), t.oid), null) as base_type,
  case when t.typelem <> 0 and t.typcategory = 'A' then true else false end as is_array,
  case
    when t.typbasetype <> 0 and t.typtypmod >= 4
      and t.typbasetype in ('varchar'::regtype, 'bpchar'::regtype) then t.typtypmod - 4
    when a.atttypmod >= 4 and a.atttypid in ('varchar'::regtype, 'bpchar'::regtype)
      then a.atttypmod - 4
  end as length_max,
  a.attnotnull or t.typnotnull as not_null,
  a.atthasdef or t.typdefault is not null or a.attidentity <> '' as has_default,
  a.attgenerated <> '' or a.attidentity = 'a' as is_generated
from pg_attribute a
join pg_class c on c.oid = a.attrelid
join pg_namespace n on n.oid = c.relnamespace
join pg_type t on t.oid = a.atttypid
where a.attnum > 0
  and not a.attisdropped
  and c.relkind in ('r', 'p', 'f', 'v', 'm')
  and n.nspname !~ '^pg_'
  and n.nspname <> 'information_schema'
  and not exists (
    select 1
    from pg_depend d
    where d.classid = 'pg_class'::regclass
      and d.objid = c.oid
      and d.deptype = 'e'
  )
order by n.nspname, c.relname, a.attnum

-- name: foreign_keys
-- Foreign keys with the columns on both sides, in matching order.
select
  n.nspname::text as schema, c.relname::text as relation, k.conname::text as name,
  tn.nspname::text as target_schema, tc.relname::text as target,
  array(
    select a.attname::text
    from unnest(k.conkey) with ordinality as u (number, place)
    join pg_attribute a on a.attrelid = k.conrelid and a.attnum = u.number
    order by u.place
  ) as columns,
  array(
    select a.attname::text
    from unnest(k.confkey) with ordinality as u (number, place)
    join pg_attribute a on a.attrelid = k.confrelid and a.attnum = u.number
    order by u.place
  ) as target_columns
from pg_constraint k
join pg_class c on c.oid = k.conrelid
join pg_namespace n on n.oid = c.relnamespace
join pg_class tc on tc.oid = k.confrelid
join pg_namespace tn on tn.oid = tc.relnamespace
where k.contype = 'f'
  and k.conparentid = 0
order by n.nspname, c.relname, k.conname

-- name: checks
-- CHECK constraints of columns and of the domains that columns have.
select n.nspname::text as schema, c.relname::text as relation, a.attname::text as column,
  pg_get_constraintdef(k.oid) as definition
from pg_constraint k
join pg_class c on c.oid = k.conrelid
join pg_namespace n on n.oid = c.relnamespace
join pg_attribute a on a.attrelid = k.conrelid and k.conkey = array[a.attnum]
where k.contype = 'c'
union all
select n.nspname::text, c.relname::text, a.attname::text, pg_get_constraintdef(k.oid)
from pg_constraint k
join pg_attribute a on a.atttypid = k.contypid and a.attnum > 0
join pg_class c on c.oid = a.attrelid
join pg_namespace n on n.oid = c.relnamespace
where k.contype = 'c'
  and k.contypid <> 0
order by 1, 2, 3, 4

-- name: indexes
-- Indexes by the columns they begin with; an expression ends the list.
select
  n.nspname::text as schema, c.relname::text as relation, i.indisprimary as is_primary,
  i.indisunique as is_unique, i.indpred is not null as is_partial,
  i.indexprs is not null as has_expressions, i.indnkeyatts as width,
  array(
    select a.attname::text
    from unnest(i.indkey::int2[]) with ordinality as u (number, place)
    join pg_attribute a on a.attrelid = i.indrelid and a.attnum = u.number
    where u.place <= i.indnkeyatts
    order by u.place
  ) as columns
from pg_index i
join pg_class c on c.oid = i.indrelid
join pg_namespace n on n.oid = c.relnamespace
where n.nspname !~ '^pg_'
  and n.nspname <> 'information_schema'
  and i.indisvalid
order by n.nspname, c.relname, i.indexrelid
