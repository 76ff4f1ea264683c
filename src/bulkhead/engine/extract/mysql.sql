-- MySQL and MariaDB: the connection's own database. Column names are given because MySQL 8 writes
-- them in capitals otherwise.

-- name: version
-- Which of the two it is.
select version() as version

-- name: tables
-- Tables, and what else has such a name.
select
  t.table_name as table_name,
  t.table_type as kind,
  t.engine as engine,
  t.row_format as row_format,
  t.table_collation as table_collation
from information_schema.tables t
where t.table_schema = database()
order by t.table_name

-- name: columns
-- Columns in their order.
select
  c.table_name as table_name,
  c.column_name as name,
  c.column_type as type,
  c.is_nullable as nullable,
  c.column_default as expression,
  c.extra as extra,
  c.collation_name as collation,
  c.generation_expression as generation_expression
from information_schema.columns c
join information_schema.tables t
  on t.table_schema = c.table_schema
  and t.table_name = c.table_name
where c.table_schema = database()
  and t.table_type = 'BASE TABLE'
order by c.table_name, c.ordinal_position

-- name: checks_mariadb
-- Checks; those of a column, named after it, are there for what MariaDB calls JSON.
select
  k.table_name as table_name,
  k.constraint_name as name,
  k.check_clause as expression,
  k.level as level
from information_schema.check_constraints k
where k.constraint_schema = database()

-- name: checks_mysql
-- Checks, whose names are unique in a database.
select
  t.table_name as table_name,
  k.constraint_name as name,
  k.check_clause as expression,
  'Table' as level
from information_schema.check_constraints k
join information_schema.table_constraints t
  on t.constraint_schema = k.constraint_schema
  and t.constraint_name = k.constraint_name
where k.constraint_schema = database()
  and t.constraint_type = 'CHECK'
  and t.enforced = 'YES'

-- name: foreign_keys
-- Foreign keys, one row for each column.
select
  k.table_name as table_name,
  k.constraint_name as name,
  k.column_name as column_name,
  k.referenced_table_schema = database() as is_local,
  k.referenced_table_schema as target_schema,
  k.referenced_table_name as target,
  k.referenced_column_name as target_column,
  r.delete_rule as on_delete,
  r.update_rule as on_update
from information_schema.key_column_usage k
join information_schema.referential_constraints r
  on r.constraint_schema = k.constraint_schema
  and r.constraint_name = k.constraint_name
  and r.table_name = k.table_name
where k.table_schema = database()
  and k.referenced_table_name is not null
order by k.table_name, k.constraint_name, k.ordinal_position

-- name: indexes
-- Indexes, that of the primary key too, one row for each column; no column is an expression.
select
  s.table_name as table_name,
  s.index_name as name,
  s.non_unique as non_unique,
  s.column_name as column_name,
  s.sub_part as sub_part,
  s.index_type as method
from information_schema.statistics s
where s.table_schema = database()
order by s.table_name, s.index_name, s.seq_in_index
