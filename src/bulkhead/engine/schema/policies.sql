-- name: policies
-- Every policy with its conditions as the server writes them.
select
  n.nspname::text as schema, c.relname::text as table, p.polname::text as name,
  p.polpermissive as is_permissive,
  case p.polcmd
    when 'r' then 'select' when 'a' then 'insert' when 'w' then 'update' when 'd' then 'delete'
    else 'all'
  end as verb,
  array(
    select case r when 0 then 'public' else pg_get_userbyid(r)::text end
    from unnest(p.polroles) r
    order by 1
  ) as roles,
  pg_get_expr(p.polqual, p.polrelid) as using_text,
  pg_get_expr(p.polwithcheck, p.polrelid) as check_text
from pg_policy p
join pg_class c on c.oid = p.polrelid
join pg_namespace n on n.oid = c.relnamespace
order by n.nspname, c.relname, p.polname

-- name: guards
-- Whether row level security is on and forced, table by table; and how views read.
select
  n.nspname::text as schema, c.relname::text as relation, c.relkind::text as kind,
  c.relrowsecurity as is_enabled, c.relforcerowsecurity as is_forced,
  coalesce('security_invoker=true' = any (c.reloptions), false) as is_invoker
from pg_class c
join pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r', 'p', 'v')
  and n.nspname !~ '^pg_'
  and n.nspname <> 'information_schema'
order by n.nspname, c.relname

-- name: grants
-- What the roles of clients hold on relations; `is_whole` tells whole tables from columns.
select
  n.nspname::text as schema, c.relname::text as relation, g.rolname::text as role,
  v.verb,
  has_table_privilege(g.oid, c.oid, v.verb) as is_whole,
  has_any_column_privilege(g.oid, c.oid, v.column_verb) as is_any,
  case when v.verb in ('delete', 'truncate') then '{}' else array(
    select a.attname::text
    from pg_attribute a
    where a.attrelid = c.oid
      and a.attnum > 0
      and not a.attisdropped
      and has_column_privilege(g.oid, c.oid, a.attnum, v.column_verb)
  ) end as columns
from pg_class c
join pg_namespace n on n.oid = c.relnamespace
cross join (select oid, rolname from pg_roles where rolname in ('anon', 'authenticated')) g
cross join (
  values ('select', 'select'), ('insert', 'insert'), ('update', 'update'), ('delete', 'references'),
    ('truncate', 'references')
) as v (verb, column_verb)
where c.relkind in ('r', 'p', 'v')
  and n.nspname !~ '^pg_'
  and n.nspname <> 'information_schema'
order by n.nspname, c.relname, g.rolname, v.verb

-- name: functions
-- Functions with who may call them, and which are tests of rights that policies rely on.
select
  n.nspname::text as schema, p.proname::text as name,
  pg_get_function_identity_arguments(p.oid) as arguments,
  p.prosecdef as is_definer,
  p.prorettype in ('trigger'::regtype, 'event_trigger'::regtype) as is_trigger,
  p.prorettype = 'boolean'::regtype and p.pronargs = 0 as is_test,
  has_function_privilege('anon', p.oid, 'execute') as anon,
  has_function_privilege('authenticated', p.oid, 'execute') as authenticated
from pg_proc p
join pg_namespace n on n.oid = p.pronamespace
where n.nspname in ('public', 'private')
  and not exists (
    select 1
    from pg_depend d
    where d.classid = 'pg_proc'::regclass
      and d.objid = p.oid
      and d.deptype = 'e'
  )
order by n.nspname, p.proname, p.oid
