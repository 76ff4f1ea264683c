-- name: base
-- What all rules look at; $1 lists the schemas that an API exposes.
schemas as (
  select n.oid, n.nspname::text as name, n.nspacl as acl, n.nspowner as owner,
    n.nspname = any ($1::text[]) as exposed
  from pg_namespace n
  where n.nspname !~ '^pg_'
    and n.nspname <> 'information_schema'
),
database_owner as (
  select coalesce(
    (select s.owner from schemas s where s.name = 'bulkhead'),
    (select d.datdba from pg_database d where d.datname = current_database())
  ) as oid
),
clients as (
  select 0::oid as oid, 'public' as name
  union all
  select r.oid, r.rolname::text
  from pg_roles r
  where r.rolname in ('anon', 'authenticated')
),
logins as (
  select r.oid, r.rolname::text as name
  from pg_roles r
  where r.rolcanlogin
    and not r.rolsuper
    and has_database_privilege(r.oid, current_database(), 'connect')
),
client_logins as (
  select l.oid, l.name
  from logins l
  where exists (
    select 1
    from clients c
    where c.oid <> 0
      and pg_has_role(l.oid, c.oid, 'member')
  )
  and l.oid <> (select o.oid from database_owner o)
),
relations as (
  select c.oid, s.name as schema, c.relname::text as name, format('%s.%s', s.name, c.relname) as label,
    c.relkind as kind, c.relowner as owner, c.relrowsecurity as rls, c.relforcerowsecurity as forced,
    c.relispartition as is_partition, c.reloptions as options, c.relacl as acl, s.exposed
  from pg_class c
  join schemas s on s.oid = c.relnamespace
  where c.relkind in ('r', 'p', 'v', 'm', 'f', 'S')
    and not exists (
      select 1
      from pg_depend d
      where d.classid = 'pg_class'::regclass
        and d.objid = c.oid
        and d.deptype = 'e'
    )
),
columns as (
  select r.oid as relation, r.label as relation_label, r.exposed, a.attnum as number,
    a.attname::text as name, format('%s.%s', r.label, a.attname) as label, a.atttypid as type,
    a.attnotnull as not_null, a.attgenerated as generated, a.attacl as acl, a.attidentity as identity
  from relations r
  join pg_attribute a on a.attrelid = r.oid
  where r.kind <> 'S'
    and a.attnum > 0
    and not a.attisdropped
),
client_grants as (
  select r.oid as relation, 0 as number, g.name as grantee, lower(a.privilege_type) as privilege
  from relations r
  cross join lateral aclexplode(r.acl) a
  join clients g on g.oid = a.grantee
  union all
  select k.relation, k.number, g.name, lower(a.privilege_type)
  from columns k
  cross join lateral aclexplode(k.acl) a
  join clients g on g.oid = a.grantee
),
policies as (
  select p.oid, p.polrelid as relation, r.label as relation_label, p.polname::text as name,
    format('%s.%s', r.label, p.polname) as label, p.polpermissive as permissive,
    case p.polcmd
      when 'r' then 'select' when 'a' then 'insert' when 'w' then 'update' when 'd' then 'delete'
      else 'all'
    end as verb,
    p.polroles as roles,
    p.polroles && (select array_agg(c.oid) from clients c) as for_clients,
    t.using_text, t.check_text, concat_ws(' ', t.using_text, t.check_text) as both_texts
  from pg_policy p
  join relations r on r.oid = p.polrelid
  cross join lateral (
    select pg_get_expr(p.polqual, p.polrelid) as using_text,
      pg_get_expr(p.polwithcheck, p.polrelid) as check_text
    offset 0 -- Rendered once, not wherever a rule looks at them.
  ) t
),
functions as (
  select p.oid, s.name as schema, s.exposed, p.proowner as owner,
    format('%s.%s(%s)', s.name, p.proname, pg_get_function_identity_arguments(p.oid)) as label,
    p.prosecdef as is_definer, p.proleakproof as is_leakproof, p.provolatile as volatility,
    p.prorettype in ('trigger'::regtype, 'event_trigger'::regtype) as is_trigger,
    l.lanname::text as language, p.prosrc as body,
    coalesce(p.proconfig, '{}') as settings,
    (
      select coalesce(array_agg(distinct c.name), '{}')
      from aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
      join clients c on c.oid = a.grantee
    ) as callers
  from pg_proc p
  join schemas s on s.oid = p.pronamespace
  join pg_language l on l.oid = p.prolang
  where not exists (
    select 1
    from pg_depend d
    where d.classid = 'pg_proc'::regclass
      and d.objid = p.oid
      and d.deptype = 'e'
  )
)
