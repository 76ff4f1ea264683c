-- name: ask_postgresql
-- What the server is, and what its administrator may do there.
select current_setting('server_version') as version,
  current_setting('server_version_num')::integer as number,
  rolsuper or rolcreatedb as makes_databases,
  rolsuper or rolcreaterole as makes_roles
from pg_roles
where rolname = current_user

-- name: ask_mysql
-- Which version the server has.
select version() as version

-- name: list_rights
-- What the administrator may do on all of a MySQL server.
select privilege_type as name, is_grantable as grantable
from information_schema.user_privileges
where grantee = concat('''', replace(current_user(), '@', '''@'''), '''')
