-- Statements that run in tenants' databases, by dialect.

-- name: make_marks_postgresql
-- The table of marks.
create table if not exists public._provisioning (
  part text primary key,
  tenant_id uuid not null,
  job_id uuid not null,
  fence integer not null
)

-- name: secure_marks_postgresql
-- Nobody but its owner, and who passes over policies, reads the marks.
alter table public._provisioning enable row level security

-- name: make_marks_mysql
-- The table of marks.
create table if not exists `_provisioning` (
  part varchar(255) character set utf8mb4 collate utf8mb4_bin not null primary key,
  tenant_id char(32) character set ascii not null,
  job_id char(32) character set ascii not null,
  fence int not null
) engine=InnoDB row_format=dynamic

-- name: take_new_postgresql
-- The mark, whose database it is, and that its first rows are written, all at once where nobody was
-- before; nothing where anybody was.
with taken as (
  insert into public._provisioning (part, tenant_id, job_id, fence)
  select part, $1::uuid, $2::uuid, $3::integer
  from pg_catalog.unnest($4::text[]) as part
  where not exists (select from public._provisioning)
    and not exists (select from public._identity)
  on conflict (part) do nothing
  returning part
), identified as (
  insert into public._identity (tenant_id)
  select $1::uuid
  where exists (select from taken)
)
select exists (select from taken) as taken

-- name: drop_marks_postgresql
-- The last thing that is taken back.
drop table if exists public._provisioning

-- name: drop_marks_mysql
-- The last thing that is taken back.
drop table if exists `_provisioning`

-- name: find_marks_postgresql
-- Whether there is a table of marks.
select pg_catalog.to_regclass('public._provisioning') is not null as found

-- name: find_marks_mysql
-- Whether there is a table of marks.
select count(*) > 0 as found
from information_schema.tables
where table_schema = database()
  and table_name = '_provisioning'

-- name: scope_postgresql
-- Names without a schema mean ours, whatever the owner of the database has set.
set local search_path to public, pg_temp

-- name: patience_postgresql
-- Changing tables that have rows takes longer than what requests do.
set local statement_timeout to '60s'

-- name: lock_mysql
-- One worker at a time, until its connection ends.
select get_lock(%s, %s) as got

-- name: version_postgresql
-- The server's version as a number.
select pg_catalog.current_setting('server_version_num')::integer as version

-- name: has_client_roles_postgresql
-- Whether policies can name clients, and ask who they are, as on Supabase.
select count(*) = 2 and pg_catalog.to_regprocedure('auth.uid()') is not null as found
from pg_catalog.pg_roles
where rolname in ('anon', 'authenticated')
