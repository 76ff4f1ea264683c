-- Read with nothing but pg_catalog in the search path: names and types of others cannot stand in
-- for the server's own, and expressions come with their schemas. Only tables of schema public.

-- name: search_path
-- Look nowhere but in the catalogue until the transaction ends.
select pg_catalog.set_config('search_path', 'pg_catalog', true)

-- name: tables
-- Tables that are no partitions, with their row level security, and what else has such a name.
select
  c.relname::text as table_name,
  case c.relkind
    when 'v' then 'view'
    when 'm' then 'materialized view'
    when 'f' then 'foreign table'
  end as kind,
  c.relrowsecurity as enabled,
  c.relforcerowsecurity as forced
from pg_class c
where c.relnamespace = 'public'::regnamespace
  and c.relkind in ('r', 'p', 'v', 'm', 'f')
  and not c.relispartition
order by c.relname

-- name: columns
-- Columns in their order.
select
  c.relname::text as table_name,
  a.attname::text as name,
  format_type(a.atttypid, a.atttypmod) as type,
  not a.attnotnull as nullable,
  pg_get_expr(d.adbin, d.adrelid) as expression,
  a.attgenerated <> '' as generated,
  a.attidentity <> '' as identity,
  case when a.attcollation <> t.typcollation then l.collname::text end as collation
from pg_attribute a
join pg_class c on c.oid = a.attrelid
join pg_type t on t.oid = a.atttypid
left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
left join pg_collation l on l.oid = a.attcollation
where c.relnamespace = 'public'::regnamespace
  and c.relkind in ('r', 'p')
  and not c.relispartition
  and a.attnum > 0
  and not a.attisdropped
order by c.relname, a.attnum

-- name: primary_keys
-- Primary keys.
select
  c.relname::text as table_name,
  array(
    select a.attname::text
    from unnest(k.conkey) with ordinality as u (attnum, position)
    join pg_attribute a on a.attrelid = k.conrelid and a.attnum = u.attnum
    order by u.position
  ) as columns
from pg_constraint k
join pg_class c on c.oid = k.conrelid
where k.contype = 'p'
  and c.relnamespace = 'public'::regnamespace
  and not c.relispartition

-- name: checks
-- Checks, and whether the rows that were there have been checked too.
select
  c.relname::text as table_name,
  k.conname::text as name,
  pg_get_expr(k.conbin, k.conrelid) as expression,
  k.convalidated as validated
from pg_constraint k
join pg_class c on c.oid = k.conrelid
where k.contype = 'c'
  and c.relnamespace = 'public'::regnamespace
  and not c.relispartition

-- name: foreign_keys
-- Foreign keys; a target in another schema comes with it.
select
  c.relname::text as table_name,
  k.conname::text as name,
  array(
    select a.attname::text
    from unnest(k.conkey) with ordinality as u (attnum, position)
    join pg_attribute a on a.attrelid = k.conrelid and a.attnum = u.attnum
    order by u.position
  ) as columns,
  case when t.relnamespace = 'public'::regnamespace
    then t.relname::text
    else t.relnamespace::regnamespace || '.' || t.relname
  end as target,
  array(
    select a.attname::text
    from unnest(k.confkey) with ordinality as u (attnum, position)
    join pg_attribute a on a.attrelid = k.confrelid and a.attnum = u.attnum
    order by u.position
  ) as target_columns,
  k.confdeltype::text as on_delete,
  k.confupdtype::text as on_update,
  k.convalidated as validated,
  k.condeferrable as deferrable
from pg_constraint k
join pg_class c on c.oid = k.conrelid
join pg_class t on t.oid = k.confrelid
where k.contype = 'f'
  and k.conparentid = 0
  and c.relnamespace = 'public'::regnamespace
  and not c.relispartition

-- name: indexes
-- Indexes other than those of primary keys, one row for each column or expression.
select
  c.relname::text as table_name,
  i.relname::text as name,
  x.indisunique as is_unique,
  x.indisvalid as valid,
  x.indnullsnotdistinct as nulls_not_distinct,
  m.amname::text as method,
  pg_get_expr(x.indpred, x.indrelid) as predicate,
  k.position > x.indnkeyatts as included,
  a.attname::text as column_name,
  pg_get_indexdef(x.indexrelid, k.position::integer, false) as expression,
  case when k.position <= x.indnkeyatts then x.indoption[k.position::integer - 1] else 0 end as options
from pg_index x
join pg_class c on c.oid = x.indrelid
join pg_class i on i.oid = x.indexrelid
join pg_am m on m.oid = i.relam
cross join lateral unnest(x.indkey::int2[]) with ordinality as k (attnum, position)
left join pg_attribute a on a.attrelid = x.indrelid and a.attnum = k.attnum and k.attnum > 0
where not x.indisprimary
  and c.relnamespace = 'public'::regnamespace
  and not c.relispartition
order by c.relname, i.relname, k.position

-- name: policies
-- Policies with all their parts; the owner of the table has no name of its own here.
select
  c.relname::text as table_name,
  p.polname::text as name,
  p.polpermissive as permissive,
  case p.polcmd
    when 'r' then 'select' when 'a' then 'insert' when 'w' then 'update' when 'd' then 'delete'
    else 'all'
  end as command,
  array(
    select case r
      when 0 then 'public'
      when c.relowner then '{owner}'
      else pg_get_userbyid(r)::text
    end
    from unnest(p.polroles) r
  ) as roles,
  pg_get_expr(p.polqual, p.polrelid) as using,
  pg_get_expr(p.polwithcheck, p.polrelid) as "check"
from pg_policy p
join pg_class c on c.oid = p.polrelid
where c.relnamespace = 'public'::regnamespace

-- name: grants
-- What the roles of clients, or everybody, may do with a table or with some of its columns.
with acls as (
  select c.relname, null::name as attname, c.relacl as acl
  from pg_class c
  where c.relnamespace = 'public'::regnamespace
    and c.relkind in ('r', 'p')
    and not c.relispartition
  union all
  select c.relname, a.attname, a.attacl
  from pg_class c
  join pg_attribute a on a.attrelid = c.oid
  where c.relnamespace = 'public'::regnamespace
    and c.relkind in ('r', 'p')
    and not c.relispartition
    and a.attnum > 0
    and not a.attisdropped
    and a.attacl is not null
)
select
  s.relname::text as table_name,
  s.attname::text as column_name,
  lower(g.privilege_type) as privilege,
  case g.grantee when 0 then 'public' else r.rolname::text end as role
from acls s
cross join lateral aclexplode(s.acl) g
left join pg_roles r on r.oid = g.grantee
where g.grantee = 0
  or r.rolname in ('anon', 'authenticated')
