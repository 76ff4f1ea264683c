-- name: end_sessions
-- Ends the sessions of some logins in the database at hand that are idle, or all of them when it is late;
-- how many there still were.
select count(
  case when $2 or state = 'idle' or state is null then pg_catalog.pg_terminate_backend(pid) end
) + count(*) filter (where state is distinct from 'idle')
from pg_catalog.pg_stat_activity
where datname = pg_catalog.current_database()
  and usename = any ($1::text[])
