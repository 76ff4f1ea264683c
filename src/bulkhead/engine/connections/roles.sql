-- name: client_dangers
-- What the session's login, or a role it can become, could do past row level security.
with reachable as (
  select r.oid, r.rolname, r.rolsuper, r.rolbypassrls
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
-- What the service login could become besides service_role.
select r.rolname as role,
  case when r.rolsuper then 'it is a superuser' else 'the service login can become it' end as reason
from pg_catalog.pg_roles r
where pg_catalog.pg_has_role(session_user, r.oid, 'member')
  and r.rolname <> session_user
  and (r.rolname <> 'service_role' or r.rolsuper)
order by r.rolname
limit 1
