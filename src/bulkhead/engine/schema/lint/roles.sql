-- name: schema_creatable
-- Whoever may create in a schema of the search path can shadow its functions and tables.
select s.name, format('%s may create in it', c.name)
from schemas s
join clients c on c.oid <> 0 and has_schema_privilege(c.oid, s.oid, 'create')
union
select s.name, 'public may create in it'
from schemas s
cross join lateral aclexplode(s.acl) a
where a.grantee = 0
  and a.privilege_type = 'CREATE'
union
select s.name, format('%s may create in it', l.name)
from schemas s
join client_logins l on has_schema_privilege(l.oid, s.oid, 'create')

-- name: schema_open
-- The engine's own schemas are none of the clients' business.
select s.name, format('%s may use it', c.name)
from schemas s
join clients c on c.oid <> 0 and has_schema_privilege(c.oid, s.oid, 'usage')
where s.name in ('bulkhead', 'supabase_migrations')

-- name: database_temporary
-- A temporary table of the caller comes first in the search path.
select current_database()::text, format('%s may create temporary tables', r.name)
from (
  select c.oid, c.name from clients c where c.oid <> 0
  union
  select l.oid, l.name from client_logins l
) r
where has_database_privilege(r.oid, current_database(), 'temporary')

-- name: database_open
-- Every role of the server can connect, those of other databases too.
select current_database()::text, format('PUBLIC may %s', lower(a.privilege_type))
from pg_database d
cross join lateral aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) a
where d.datname = current_database()
  and a.grantee = 0

-- name: role_reaches_bypass
-- A client that can become a role with BYPASSRLS, a superuser or the owner has no limits.
select c.name, format('it can become %s', r.rolname)
from (
  select l.oid, l.name from client_logins l
  union
  select k.oid, k.name from clients k where k.oid <> 0
) c
join pg_roles r on pg_has_role(c.oid, r.oid, 'member')
where r.rolbypassrls
  or r.rolsuper
  or r.oid = (select o.oid from database_owner o)

-- name: client_role_attributes
-- The roles of clients have no attribute of their own.
select r.rolname::text, concat_ws(', ',
  case when r.rolcanlogin then 'may log in' end,
  case when r.rolsuper then 'is a superuser' end,
  case when r.rolbypassrls then 'passes over row level security' end,
  case when r.rolcreaterole then 'may create roles' end,
  case when r.rolcreatedb then 'may create databases' end,
  case when r.rolreplication then 'may replicate' end
)
from pg_roles r
join clients c on c.oid = r.oid
where r.rolcanlogin or r.rolsuper or r.rolbypassrls or r.rolcreaterole or r.rolcreatedb
  or r.rolreplication

-- name: owner_can_log_in
-- Tables belong to a role in which nobody logs in, and which nobody but an administrator becomes.
select r.label, format('owner %s may log in', o.rolname)
from relations r
join pg_roles o on o.oid = r.owner
where o.rolcanlogin
union all
select r.label, format('owner %s is a superuser or passes over row level security', o.rolname)
from relations r
join pg_roles o on o.oid = r.owner
where not o.rolcanlogin
  and (o.rolsuper or o.rolbypassrls)

-- name: default_privilege_open
-- What is created next would be open by itself.
select
  format('%s of %s', case d.defaclobjtype
    when 'r' then 'tables' when 'S' then 'sequences' when 'f' then 'functions' when 'T' then 'types'
    else 'schemas' end, pg_get_userbyid(d.defaclrole)),
  format('%s would hold %s', c.name, lower(a.privilege_type))
from pg_default_acl d
cross join lateral aclexplode(d.defaclacl) a
join clients c on c.oid = a.grantee
where d.defaclobjtype <> 'T'
union all
select format('functions of %s', pg_get_userbyid(o.oid)), 'public would hold execute'
from database_owner o
where not exists (
  select 1
  from pg_default_acl d
  where d.defaclrole = o.oid
    and d.defaclnamespace = 0
    and d.defaclobjtype = 'f'
)

-- name: login_without_timeout
-- Without a time-out one client's statement can hold a connection for ever.
select l.name, 'no statement_timeout is set'
from client_logins l
where not exists (
  select 1
  from pg_db_role_setting s
  cross join lateral unnest(s.setconfig) as c (setting)
  where s.setrole in (l.oid, 0)
    and s.setdatabase in (0, (select d.oid from pg_database d where d.datname = current_database()))
    and c.setting like 'statement_timeout=%'
)

-- name: extension_exposed
-- Functions of an extension in an exposed schema can be called over the API.
select e.extname::text, format('installed in %s', s.name)
from pg_extension e
join schemas s on s.oid = e.extnamespace
where s.exposed

-- name: sequence_writable
-- A client that may set a sequence can make every insert fail.
select r.label, format('%s may set it', g.grantee)
from relations r
join client_grants g on g.relation = r.oid
where r.kind = 'S'
  and g.privilege = 'update'
