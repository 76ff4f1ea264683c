-- The server's own databases that everybody may connect to, as is PostgreSQL's default.
select d.datname::text as name
from pg_database d
where d.datname in ('postgres', 'template1')
  and exists (
    select 1
    from aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) a
    where a.grantee = 0
  )
