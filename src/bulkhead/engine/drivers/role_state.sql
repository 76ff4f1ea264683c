-- The administrator and those of the roles named $1 that exist.
select
  current_setting('server_version_num')::integer as version,
  r.rolname::text as name,
  r.rolname = current_user as is_admin,
  r.rolsuper as is_superuser,
  r.rolbypassrls as bypasses_rls,
  shobj_description(r.oid, 'pg_authid') as mark,
  coalesce(
    (
      select array_agg(g.rolname::text)
      from pg_auth_members m
      join pg_roles g on g.oid = m.roleid
      where m.member = r.oid
        -- From version 16 on, the creator of a role may hand it on, but is not in it.
        and coalesce((to_jsonb(m) ->> 'set_option')::boolean, true)
    ),
    '{}'
  ) as member_of,
  coalesce(
    (
      select s.setconfig
      from pg_db_role_setting s
      where s.setrole = r.oid
        and s.setdatabase = 0
    ),
    '{}'
  ) as settings
from pg_roles r
where r.rolname = any ($1::text[])
  or r.rolname = current_user
