-- name: make_migrations_postgresql
-- Which migrations the database has had, where its owner runs it.
create table if not exists public._migrations (
  namespace text not null,
  version integer not null,
  name text not null,
  checksum text not null,
  up_sql text not null,
  down_sql text not null,
  applied_at timestamp not null,
  duration_ms integer not null,
  primary key (namespace, version)
)

-- name: secure_postgresql
-- Nobody but its owner, and who passes over policies, reads it.
alter table public._migrations enable row level security

-- name: make_migrations_mysql
-- Which migrations the database has had.
create table if not exists `_migrations` (
  namespace varchar(63) character set ascii not null,
  version int not null,
  name varchar(200) character set ascii not null,
  checksum char(64) character set ascii not null,
  up_sql longtext character set utf8mb4 not null,
  down_sql longtext character set utf8mb4 not null,
  applied_at datetime(6) not null,
  duration_ms int not null,
  primary key (namespace, version)
) engine=InnoDB

-- name: make_statements_mysql
-- How far a migration has come that is under way.
create table if not exists `_migration_statements` (
  namespace varchar(63) character set ascii not null,
  version int not null,
  direction varchar(4) character set ascii not null,
  ordinal int not null,
  checksum char(64) character set ascii not null,
  state varchar(5) character set ascii not null,
  before_hash varchar(64) character set ascii not null,
  primary key (namespace, version, direction, ordinal)
) engine=InnoDB

-- name: lock_mysql
-- One at a time, until its connection ends.
select get_lock(%s, %s) as got
