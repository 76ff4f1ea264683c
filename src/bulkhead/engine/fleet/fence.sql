-- name: end_sessions
-- Ends the sessions of some logins in a database that are idle, or all of them when it is late;
-- how many there still were.
select count(
  case when $3 or state = 'idle' or state is null then pg_catalog.pg_terminate_backend(pid) end
) + count(*) filter (where state is distinct from 'idle')
from pg_catalog.pg_stat_activity
where datname = $1
  and usename = any ($2::text[])
