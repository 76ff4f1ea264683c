-- What the schema cache reads of the catalogue, with nothing but `pg_catalog` in the search path:
-- so every name of the catalogue means what it says, and types of other schemas come out qualified.

-- name: tables
-- Tables, views, materialized views, foreign and partitioned tables of the schemas $1.
select
  c.oid,
  n.nspname::text as schema,
  c.relname::text as name,
  note.description,
  c.relkind in ('v', 'm') as is_view,
  -- The bits are 1 << CMD_UPDATE, CMD_INSERT and CMD_DELETE; triggers INSTEAD OF count.
  case
    when c.relkind in ('r', 'p') then 28
    when c.relkind in ('v', 'f') then pg_relation_is_updatable(c.oid, true)
    else 0
  end as writable
from pg_class c
join pg_namespace n on n.oid = c.relnamespace
left join pg_description note on note.objoid = c.oid
  and note.classoid = 'pg_class'::regclass
  and note.objsubid = 0
where c.relkind in ('r', 'v', 'm', 'f', 'p')
  and not c.relispartition
  and n.nspname = any ($1::text[])
order by n.nspname, c.relname

-- name: columns
-- Columns of the relations of the schemas $1, in their order.
with recursive domains as (
  select t.oid, t.typbasetype as base
  from pg_type t
  where t.typtype = 'd'
  union all
  select d.oid, t.typbasetype
  from domains d
  join pg_type t on t.oid = d.base
  where t.typtype = 'd'
)
select
  a.attrelid as relation,
  a.attname::text as name,
  format_type(
    case when b.typnamespace = pg.oid then b.oid else a.atttypid end,
    case when b.typnamespace = pg.oid then null else a.atttypmod end
  ) as type,
  format_type(a.atttypid, a.atttypmod) as nominal_type,
  format_type(a.atttypid, -1) as cast_type,
  format_type(b.oid, -1) as base_cast_type,
  not (a.attnotnull or (t.typtype = 'd' and t.typnotnull)) as is_nullable,
  case
    when m.typmod < 0 then null
    when m.type in ('bpchar'::regtype, 'varchar'::regtype) then m.typmod - 4
    when m.type in ('bit'::regtype, 'varbit'::regtype) then m.typmod
  end as max_length,
  case
    when a.attgenerated <> '' then null
    when a.attidentity = 'd' then (
      select format('nextval(%L)', s.objid::regclass)
      from pg_depend s
      where s.refclassid = 'pg_class'::regclass
        and s.refobjid = a.attrelid
        and s.refobjsubid = a.attnum
        and s.deptype = 'i'
      limit 1
    )
    when t.typtype = 'd' and e.adbin is null then pg_get_expr(t.typdefaultbin, 0)
    else pg_get_expr(e.adbin, e.adrelid)
  end as default,
  case when b.typtype = 'e' then array(
    select l.enumlabel::text
    from pg_enum l
    where l.enumtypid = b.oid
    order by l.enumsortorder
  ) end as enum,
  note.description,
  a.attgenerated <> '' as is_generated,
  b.typtype = 'c' or b.typcategory = 'A' as is_composite
from pg_attribute a
join pg_class c on c.oid = a.attrelid
join pg_namespace n on n.oid = c.relnamespace
join pg_namespace pg on pg.nspname = 'pg_catalog'
join pg_type t on t.oid = a.atttypid
left join domains d on d.oid = t.oid
  and not exists (
    select 1
    from pg_type under
    where under.oid = d.base
      and under.typtype = 'd'
  )
join pg_type b on b.oid = coalesce(d.base, t.oid)
left join pg_attrdef e on e.adrelid = a.attrelid
  and e.adnum = a.attnum
left join pg_description note on note.objoid = a.attrelid
  and note.classoid = 'pg_class'::regclass
  and note.objsubid = a.attnum
cross join lateral (
  select
    case when t.typtype = 'd' then t.typbasetype else t.oid end as type,
    case when t.typtype = 'd' then t.typtypmod else a.atttypmod end as typmod
) m
where c.relkind in ('r', 'v', 'm', 'f', 'p')
  and not c.relispartition
  and a.attnum > 0
  and not a.attisdropped
  and n.nspname = any ($1::text[])
order by a.attrelid, a.attnum

-- name: constraints
-- Primary keys, unique constraints and foreign keys of all schemas but the system's.
select
  k.contype::text as kind,
  k.conname::text as name,
  k.conrelid as relation,
  n.nspname::text as schema,
  c.relname::text as table,
  k.conkey as numbers,
  array(
    select a.attname::text
    from unnest(k.conkey) with ordinality u (number, place)
    join pg_attribute a on a.attrelid = k.conrelid
      and a.attnum = u.number
    order by u.place
  ) as columns,
  k.confrelid as target_relation,
  tn.nspname::text as target_schema,
  tc.relname::text as target_table,
  k.confkey as target_numbers,
  array(
    select a.attname::text
    from unnest(k.confkey) with ordinality u (number, place)
    join pg_attribute a on a.attrelid = k.confrelid
      and a.attnum = u.number
    order by u.place
  ) as target_columns,
  k.conparentid <> 0 as is_inherited
from pg_constraint k
join pg_class c on c.oid = k.conrelid
join pg_namespace n on n.oid = c.relnamespace
left join pg_class tc on tc.oid = k.confrelid
left join pg_namespace tn on tn.oid = tc.relnamespace
where k.contype in ('p', 'u', 'f')
  and n.nspname <> 'information_schema'
  and n.nspname not like 'pg\_%'
order by k.conrelid, k.conname

-- name: view_origins
-- Which column of which relation a column of a view of the schemas $1 is, as its rule says.
--
-- The rule of a view is the text of a parse tree: nodes in braces, special characters of names
-- behind backslashes. Cut before each `:resno`, a piece begins with what one TARGETENTRY says
-- after its expression. The balance of braces before it tells how deep it stands: the view's own
-- entries are two deep, those of subqueries deeper.
with views as (
  select
    c.oid,
    n.nspname::text as schema,
    c.relname::text as name,
    replace(
      replace(replace(r.ev_action::text, '\\', ''), '\{', ''), '\}', ''
    ) as tree
  from pg_class c
  join pg_namespace n on n.oid = c.relnamespace
  join pg_rewrite r on r.ev_class = c.oid
  where c.relkind in ('v', 'm')
    and r.ev_type = '1'
    and n.nspname = any ($1::text[])
),
pieces as (
  select
    v.oid,
    v.schema,
    v.name,
    p.piece,
    sum(
      length(replace(p.piece, '}', '')) - length(replace(p.piece, '{', ''))
    ) over (
      partition by v.oid
      order by p.place
      rows between unbounded preceding and 1 preceding
    ) as depth
  from views v
  cross join lateral string_to_table(v.tree, ' :resno ') with ordinality p (piece, place)
),
entries as materialized (
  select
    p.oid as view,
    p.schema,
    p.name,
    split_part(p.piece, ' ', 1)::smallint as number,
    split_part(split_part(p.piece, ' :resorigtbl ', 2), ' ', 1)::oid as relation,
    split_part(split_part(p.piece, ' :resorigcol ', 2), ' ', 1)::smallint as origin_number
  from pieces p
  where p.depth = 2
)
select
  e.view,
  e.schema,
  e.name,
  a.attname::text as column,
  a.attnum as number,
  e.relation,
  e.origin_number
from entries e
join pg_attribute a on a.attrelid = e.view
  and a.attnum = e.number
where e.relation <> 0
  and e.origin_number > 0
order by e.view, a.attnum

-- name: computed
-- Functions of exactly one row of a relation, in the schemas $1 or returning rows of a relation.
with recursive domains as (
  select t.oid, t.typbasetype as base
  from pg_type t
  where t.typtype = 'd'
  union all
  select d.oid, t.typbasetype
  from domains d
  join pg_type t on t.oid = d.base
  where t.typtype = 'd'
)
select
  pn.nspname::text as function_schema,
  p.proname::text as function,
  n.nspname::text as schema,
  c.relname::text as table,
  rn.nspname::text as target_schema,
  rc.relname::text as target,
  not p.proretset or p.prorows = 1 as is_to_one,
  format_type(
    coalesce(
      (
        select d.base
        from domains d
        join pg_type under on under.oid = d.base
        where d.oid = p.prorettype
          and under.typtype <> 'd'
      ),
      p.prorettype
    ),
    -1
  ) as type,
  p.proretset as returns_set
from pg_proc p
join pg_namespace pn on pn.oid = p.pronamespace
join pg_class c on c.reltype = p.proargtypes[0]
  and c.relkind in ('r', 'v', 'm', 'f', 'p')
join pg_namespace n on n.oid = c.relnamespace
left join pg_class rc on rc.reltype = p.prorettype
  and p.prorettype <> 0
  and rc.relkind in ('r', 'v', 'm', 'f', 'p')
left join pg_namespace rn on rn.oid = rc.relnamespace
where p.pronargs = 1
  and p.prokind = 'f'
  and p.proargtypes[0] <> 0
  and (rc.oid is not null or pn.nspname = any ($1::text[]))
order by pn.nspname, p.proname, n.nspname, c.relname

-- name: functions
-- Functions of the schemas $1 that can be called, no procedures, aggregates or triggers; all of
-- them, or unless $2 those that the role of the transaction may call.
with recursive domains as (
  select t.oid, t.typbasetype as base
  from pg_type t
  where t.typtype = 'd'
  union all
  select d.oid, t.typbasetype
  from domains d
  join pg_type t on t.oid = d.base
  where t.typtype = 'd'
),
bases as (
  select d.oid, d.base
  from domains d
  join pg_type t on t.oid = d.base
  where t.typtype <> 'd'
)
select
  n.nspname::text as schema,
  p.proname::text as name,
  note.description,
  p.pronargs as inputs,
  p.pronargdefaults as defaults,
  p.proargnames as names,
  p.proargmodes::text[] as modes,
  array(
    select format_type(u.type, null)
    from unnest(coalesce(p.proallargtypes, p.proargtypes::oid[])) with ordinality u (type, place)
    order by u.place
  ) as types,
  array(
    select format_type(coalesce(b.base, u.type), -1)
    from unnest(coalesce(p.proallargtypes, p.proargtypes::oid[])) with ordinality u (type, place)
    left join bases b on b.oid = u.type
    order by u.place
  ) as base_types,
  rn.nspname::text as return_schema,
  coalesce(rc.relname, r.typname)::text as return_name,
  p.proretset as returns_set,
  r.typtype = 'c' as returns_row_type,
  rb.oid is not null as returns_domain,
  case when rc.relkind = 'c' then array(
    select row_to_json(x)::text
    from (
      select
        a.attname as name,
        format_type(coalesce(b.base, a.atttypid), -1) as type
      from pg_attribute a
      left join bases b on b.oid = a.atttypid
      where a.attrelid = rc.oid
        and a.attnum > 0
        and not a.attisdropped
      order by a.attnum
    ) x
  ) end as return_columns,
  p.provolatile::text as volatility,
  p.provariadic <> 0 as has_variadic,
  p.proconfig as settings
from pg_proc p
join pg_namespace n on n.oid = p.pronamespace
left join bases rb on rb.oid = p.prorettype
join pg_type r on r.oid = coalesce(rb.base, p.prorettype)
join pg_namespace rn on rn.oid = r.typnamespace
left join pg_class rc on rc.oid = r.typrelid
left join pg_description note on note.objoid = p.oid
  and note.classoid = 'pg_proc'::regclass
where p.prokind = 'f'
  and r.oid not in ('trigger'::regtype, 'event_trigger'::regtype)
  and n.nspname = any ($1::text[])
  and ($2::boolean or has_function_privilege(p.oid, 'execute'))
order by n.nspname, p.proname, p.oid

-- name: representations
-- Implicit casts by function of a domain from or to json or text, which a role that the login may
-- become can use.
select
  format_type(k.castsource, null) as source,
  format_type(k.casttarget, null) as target,
  format('%I.%I', n.nspname, p.proname) as function
from pg_cast k
join pg_type s on s.oid = k.castsource
join pg_type t on t.oid = k.casttarget
join pg_proc p on p.oid = k.castfunc
join pg_namespace n on n.oid = p.pronamespace
where k.castcontext = 'i'
  and k.castmethod = 'f'
  and (
    (s.typtype = 'd' and t.oid in ('json'::regtype, 'text'::regtype))
    or (t.typtype = 'd' and s.oid in ('json'::regtype, 'text'::regtype))
  )
  and exists (
    select 1
    from pg_roles r
    where pg_has_role(session_user, r.oid, 'member')
      and has_function_privilege(r.oid, p.oid, 'execute')
  )

-- name: media_handlers
-- Aggregates and functions of the schemas $1 that return a domain named like a media type.
select
  n.nspname::text as schema,
  p.proname::text as function,
  case p.prokind when 'a' then an.nspname else n.nspname end::text as target_schema,
  case p.prokind when 'a' then a.typname else p.proname end::text as target,
  lower(t.typname) as accepts,
  p.prokind = 'a' as is_aggregate
from pg_proc p
join pg_namespace n on n.oid = p.pronamespace
join pg_type t on t.oid = p.prorettype
left join pg_type a on a.oid = p.proargtypes[0]
left join pg_namespace an on an.oid = a.typnamespace
left join pg_class c on c.oid = a.typrelid
where n.nspname = any ($1::text[])
  and t.typtype = 'd'
  and (t.typname ~* '^[a-z0-9.-]+/[a-z0-9.+-]+$' or t.typname = '*/*')
  and (
    (p.prokind = 'f' and not p.proretset)
    or (
      p.prokind = 'a'
      and p.pronargs = 1
      and (c.relkind in ('r', 'v', 'm', 'f', 'p') or a.oid = 'anyelement'::regtype)
    )
  )
order by p.prokind, n.nspname, p.proname

-- name: role_settings
-- Settings of roles that those roles may set themselves; SET ROLE does not put them in force.
select
  r.rolname::text as role,
  s.name,
  substr(c.setting, strpos(c.setting, '=') + 1) as value
from pg_roles r
cross join lateral unnest(r.rolconfig) c (setting)
join pg_settings s on s.name = substr(c.setting, 1, strpos(c.setting, '=') - 1)
where s.context = 'user'
  or has_parameter_privilege(r.oid, s.name, 'set')
order by r.rolname, s.name

-- name: time_zones
-- The names that `set time zone` understands.
select name
from pg_timezone_names

-- name: accessible_tables
-- The relations of the schema $1 of which the role of the transaction may do anything.
select c.relname::text as name
from pg_class c
join pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r', 'v', 'm', 'f', 'p')
  and not c.relispartition
  and n.nspname = $1
  and (
    pg_has_role(c.relowner, 'usage')
    or has_table_privilege(
      c.oid, 'select, insert, update, delete, truncate, references, trigger'
    )
    or has_any_column_privilege(c.oid, 'select, insert, update, references')
  )

-- name: schema_description
-- The comment of the schema $1.
select obj_description(n.oid, 'pg_namespace')
from pg_namespace n
where n.nspname = $1

-- name: fingerprint
-- A text that differs once a definition has changed: how many rows of the catalogue are not the
-- system's own, and the sum of the transactions that wrote them.
select string_agg(concat(f.count, ' ', f.sum), ' ')
from (
  select count(*), sum(xmin::text::bigint)
  from pg_class
  where oid >= 16384
  union all
  select count(*), sum(xmin::text::bigint)
  from pg_attribute
  where attrelid >= 16384
  union all
  select count(*), sum(xmin::text::bigint)
  from pg_attrdef
  where oid >= 16384
  union all
  select count(*), sum(xmin::text::bigint)
  from pg_constraint
  where oid >= 16384
  union all
  select count(*), sum(xmin::text::bigint)
  from pg_proc
  where oid >= 16384
  union all
  select count(*), sum(xmin::text::bigint)
  from pg_type
  where oid >= 16384
  union all
  select count(*), sum(xmin::text::bigint)
  from pg_enum
  where oid >= 16384
  union all
  select count(*), sum(xmin::text::bigint)
  from pg_cast
  where oid >= 16384
  union all
  select count(*), sum(xmin::text::bigint)
  from pg_rewrite
  where oid >= 16384
  union all
  select count(*), sum(xmin::text::bigint)
  from pg_description
  where objoid >= 16384
  union all
  select count(*), sum(xmin::text::bigint)
  from pg_namespace
  union all
  select count(*), sum(xmin::text::bigint)
  from pg_db_role_setting
) f
