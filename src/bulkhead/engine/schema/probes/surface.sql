-- name: functions
-- Functions that can be called, with all their signatures.
select n.nspname::text as schema, p.proname::text as name, p.oid::bigint as oid,
  pg_get_function_identity_arguments(p.oid) as arguments
from pg_proc p
join pg_namespace n on n.oid = p.pronamespace
where n.nspname !~ '^pg_'
  and n.nspname not in ('information_schema', 'extensions')
  and p.prorettype not in ('trigger'::regtype, 'event_trigger'::regtype)
  and not exists (
    select 1
    from pg_depend d
    where d.classid = 'pg_proc'::regclass
      and d.objid = p.oid
      and d.deptype = 'e'
  )
order by n.nspname, p.proname, p.oid

-- name: sequences
-- Sequences of ours.
select n.nspname::text as schema, c.relname::text as name
from pg_class c
join pg_namespace n on n.oid = c.relnamespace
where c.relkind = 'S'
  and n.nspname !~ '^pg_'
order by n.nspname, c.relname

-- name: schemas
-- Schemas of ours.
select n.nspname::text as name
from pg_namespace n
where n.nspname !~ '^pg_'
  and n.nspname <> 'information_schema'
order by n.nspname
