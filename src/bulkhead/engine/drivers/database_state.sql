-- The database named $1; its rights are complete when exactly the logins $2 may connect.
select
  pg_get_userbyid(d.datdba)::text as owner,
  shobj_description(d.oid, 'pg_database') as mark,
  not d.datallowconn as is_sealed,
  d.datacl is not null
    and not exists (
      select 1
      from aclexplode(d.datacl) a
      where a.grantee = 0
    )
    and (
      select count(distinct r.rolname)
      from aclexplode(d.datacl) a
      join pg_roles r on r.oid = a.grantee
      where a.privilege_type = 'CONNECT'
        and r.rolname = any ($2::text[])
    ) = cardinality($2::text[]) as rights_complete,
  coalesce(
    (
      select s.setconfig
      from pg_db_role_setting s
      where s.setdatabase = d.oid
        and s.setrole = 0
    ),
    '{}'
  ) as settings
from pg_database d
where d.datname = $1
