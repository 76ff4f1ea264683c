-- name: client_dangers
-- What the session's login, or a role it can become, could do past row level security.
with reachable as (
  select r.oid, r.rolname, r.rolsuper, r.rolbypassrls, r.rolreplication, r.rolcreaterole
  from pg_catalog.pg_roles r
  where pg_catalog.pg_has_role(session_user, r.oid, 'member')
)
select r.rolname as role, d.reason
from reachable r
cross join lateral (
  select 'it is a superuser' as reason where r.rolsuper
  union all
  select 'it has BYPASSRLS' where r.rolbypassrls
  union all
  select 'it has REPLICATION, which sees every row' where r.rolreplication
  union all
  select 'it has CREATEROLE' where r.rolcreaterole
  union all
  select 'the client login can become it'
  where r.rolname not in (session_user, 'anon', 'authenticated')
  union all
  (
    select 'it owns table ' || c.oid::pg_catalog.regclass::text
    from pg_catalog.pg_class c
    join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    where c.relowner = r.oid
      and c.relkind in ('r', 'p', 'v', 'm')
      and n.nspname not like 'pg\_%'
    limit 1
  )
) d
order by r.rolname
limit 1

-- name: service_dangers
-- What the service login could do or become besides service_role.
select r.rolname as role, d.reason
from pg_catalog.pg_roles r
cross join lateral (
  select 'it is a superuser' as reason where r.rolsuper
  union all
  select 'it has REPLICATION' where r.rolreplication
  union all
  select 'it has CREATEROLE' where r.rolcreaterole
  union all
  select 'the service login can become it' where r.rolname not in (session_user, 'service_role')
) d
where pg_catalog.pg_has_role(session_user, r.oid, 'member')
order by r.rolname
limit 1
