-- name: owner
-- The role that owns the engine's schema, which is the owner of everything that is ours.
select pg_get_userbyid(coalesce(
  (select nspowner from pg_namespace where nspname = 'bulkhead'),
  (select datdba from pg_database where datname = current_database())
))

-- name: schema
-- Schemas and their owners.
select n.nspname as name, 'owner ' || pg_get_userbyid(n.nspowner) as definition
from pg_namespace n
where n.nspname !~ '^pg_'
  and n.nspname <> 'information_schema'

-- name: extension
-- Extensions, their versions and schemas.
select e.extname as name, format('version %s schema %s', e.extversion, n.nspname) as definition
from pg_extension e
join pg_namespace n on n.oid = e.extnamespace

-- name: type
-- Domains with their constraints, enumerations, and composite types that are not rows of a table.
select
  format('%I.%I', n.nspname, t.typname) as name,
  case t.typtype
    when 'd' then concat_ws(' ',
      'domain as', format_type(t.typbasetype, t.typtypmod),
      case when t.typnotnull then 'not null' end,
      'default ' || t.typdefault,
      (
        select string_agg(format('constraint %I %s', c.conname, pg_get_constraintdef(c.oid)), ' '
          order by c.conname)
        from pg_constraint c
        where c.contypid = t.oid
          and c.contype <> 'n'
      )
    )
    when 'e' then 'enum ' || (
      select string_agg(quote_literal(e.enumlabel), ', ' order by e.enumsortorder)
      from pg_enum e
      where e.enumtypid = t.oid
    )
    when 'c' then 'composite ' || coalesce((
      select string_agg(format('%I %s', a.attname, format_type(a.atttypid, a.atttypmod)), ', '
        order by a.attnum)
      from pg_attribute a
      where a.attrelid = t.typrelid
        and a.attnum > 0
        and not a.attisdropped
    ), '')
    else 'range of ' || (
      select format_type(r.rngsubtype, null) from pg_range r where r.rngtypid = t.oid
    )
  end || ' owner ' || pg_get_userbyid(t.typowner) as definition
from pg_type t
join pg_namespace n on n.oid = t.typnamespace
left join pg_class c on c.oid = t.typrelid
where n.nspname !~ '^pg_'
  and n.nspname <> 'information_schema'
  and (t.typtype in ('d', 'e', 'r') or (t.typtype = 'c' and c.relkind = 'c'))
  and not exists (
    select 1 from pg_depend d
    where d.classid = 'pg_type'::regclass and d.objid = t.oid and d.deptype = 'e'
  )

-- name: sequence
-- Sequences and the columns they belong to.
select
  format('%I.%I', n.nspname, c.relname) as name,
  concat_ws(' ',
    format_type(s.seqtypid, null),
    format('start %s increment %s min %s max %s cache %s', s.seqstart, s.seqincrement, s.seqmin,
      s.seqmax, s.seqcache),
    case when s.seqcycle then 'cycle' end,
    (
      select format('owned by %s.%I', d.refobjid::regclass, a.attname)
      from pg_depend d
      join pg_attribute a on a.attrelid = d.refobjid and a.attnum = d.refobjsubid
      where d.classid = 'pg_class'::regclass
        and d.objid = c.oid
        and d.refclassid = 'pg_class'::regclass
        and d.deptype in ('a', 'i')
      limit 1
    ),
    'owner', pg_get_userbyid(c.relowner)
  ) as definition
from pg_sequence s
join pg_class c on c.oid = s.seqrelid
join pg_namespace n on n.oid = c.relnamespace
where n.nspname !~ '^pg_'
  and n.nspname <> 'information_schema'
  and not exists (
    select 1 from pg_depend d
    where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e'
  )

-- name: table
-- Tables, partitions and foreign tables with everything that is not a column.
select
  format('%I.%I', n.nspname, c.relname) as name,
  concat_ws(' ',
    case c.relpersistence when 'u' then 'unlogged' when 't' then 'temporary' end,
    case c.relkind when 'f' then 'foreign table' else 'table' end,
    (
      select string_agg('inherits ' || i.inhparent::regclass::text, ' ' order by i.inhseqno)
      from pg_inherits i
      where i.inhrelid = c.oid
    ),
    pg_get_expr(c.relpartbound, c.oid),
    'partition by ' || pg_get_partkeydef(c.oid),
    case when c.relrowsecurity then 'row level security' else 'no row level security' end,
    case when c.relforcerowsecurity then 'forced' end,
    case c.relreplident
      when 'f' then 'replica identity full'
      when 'n' then 'replica identity nothing'
      when 'i' then 'replica identity index'
    end,
    'with (' || array_to_string(c.reloptions, ', ') || ')',
    'owner', pg_get_userbyid(c.relowner)
  ) as definition
from pg_class c
join pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r', 'p', 'f')
  and n.nspname !~ '^pg_'
  and n.nspname <> 'information_schema'
  and not exists (
    select 1 from pg_depend d
    where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e'
  )

-- name: column
-- Columns of tables and views in their order.
select
  format('%I.%I.%I', n.nspname, c.relname, a.attname) as name,
  concat_ws(' ',
    format_type(a.atttypid, a.atttypmod),
    case when a.attcollation <> t.typcollation then
      'collate ' || (select format('%I', l.collname) from pg_collation l where l.oid = a.attcollation)
    end,
    case when a.attnotnull then 'not null' end,
    case a.attidentity
      when 'a' then 'generated always as identity'
      when 'd' then 'generated by default as identity'
    end,
    case a.attgenerated
      when 's' then 'generated always as (' || pg_get_expr(d.adbin, d.adrelid) || ') stored'
      when 'v' then 'generated always as (' || pg_get_expr(d.adbin, d.adrelid) || ') virtual'
      else 'default ' || pg_get_expr(d.adbin, d.adrelid)
    end,
    case when a.attcompression <> '' then 'compression ' || a.attcompression::text end,
    case when a.attstorage <> t.typstorage then 'storage ' || a.attstorage::text end,
    'position',
    row_number() over (partition by c.oid order by a.attnum)
  ) as definition
from pg_attribute a
join pg_class c on c.oid = a.attrelid
join pg_namespace n on n.oid = c.relnamespace
join pg_type t on t.oid = a.atttypid
left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
where a.attnum > 0
  and not a.attisdropped
  and c.relkind in ('r', 'p', 'f', 'v', 'm')
  and n.nspname !~ '^pg_'
  and n.nspname <> 'information_schema'
  and not exists (
    select 1 from pg_depend d
    where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e'
  )

-- name: constraint
-- Constraints of tables; those of domains stand with the domain.
select
  format('%I.%I.%I', n.nspname, c.relname, k.conname) as name,
  pg_get_constraintdef(k.oid) as definition
from pg_constraint k
join pg_class c on c.oid = k.conrelid
join pg_namespace n on n.oid = c.relnamespace
where k.contype <> 't'
  and n.nspname !~ '^pg_'
  and n.nspname <> 'information_schema'
  and not exists (
    select 1 from pg_depend d
    where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e'
  )

-- name: index
-- Indexes, those of constraints too, and whether they can be used.
select
  format('%I.%I', n.nspname, c.relname) as name,
  concat_ws(' ',
    pg_get_indexdef(i.indexrelid),
    case when not i.indisvalid then 'invalid' end,
    case when i.indisclustered then 'clustered' end,
    case when i.indisreplident then 'replica identity' end
  ) as definition
from pg_index i
join pg_class c on c.oid = i.indexrelid
join pg_namespace n on n.oid = c.relnamespace
where n.nspname !~ '^pg_'
  and n.nspname <> 'information_schema'
  and not exists (
    select 1 from pg_depend d
    where d.classid = 'pg_class'::regclass and d.objid = i.indrelid and d.deptype = 'e'
  )

-- name: policy
-- Policies with all their parts.
select
  format('%I.%I.%I', n.nspname, c.relname, p.polname) as name,
  concat_ws(' ',
    case when p.polpermissive then 'permissive' else 'restrictive' end,
    'for',
    case p.polcmd
      when 'r' then 'select' when 'a' then 'insert' when 'w' then 'update' when 'd' then 'delete'
      else 'all'
    end,
    'to',
    (
      select string_agg(case r when 0 then 'public' else pg_get_userbyid(r) end, ', '
        order by case r when 0 then 'public' else pg_get_userbyid(r) end)
      from unnest(p.polroles) r
    ),
    'using (' || pg_get_expr(p.polqual, p.polrelid) || ')',
    'with check (' || pg_get_expr(p.polwithcheck, p.polrelid) || ')'
  ) as definition
from pg_policy p
join pg_class c on c.oid = p.polrelid
join pg_namespace n on n.oid = c.relnamespace

-- name: trigger
-- Triggers that somebody wrote, and whether they fire.
select
  format('%I.%I.%I', n.nspname, c.relname, t.tgname) as name,
  concat_ws(' ',
    pg_get_triggerdef(t.oid),
    case t.tgenabled
      when 'D' then 'disabled' when 'R' then 'enabled replica' when 'A' then 'enabled always'
    end
  ) as definition
from pg_trigger t
join pg_class c on c.oid = t.tgrelid
join pg_namespace n on n.oid = c.relnamespace
where not t.tgisinternal

-- name: rule
-- Rewrite rules other than those that make a view.
select
  format('%I.%I.%I', n.nspname, c.relname, r.rulename) as name,
  pg_get_ruledef(r.oid) as definition
from pg_rewrite r
join pg_class c on c.oid = r.ev_class
join pg_namespace n on n.oid = c.relnamespace
where r.rulename <> '_RETURN'
  and n.nspname !~ '^pg_'
  and n.nspname <> 'information_schema'

-- name: view
-- Views and materialized views with their options.
select
  format('%I.%I', n.nspname, c.relname) as name,
  concat_ws(' ',
    case c.relkind when 'm' then 'materialized view' else 'view' end,
    'with (' || array_to_string(c.reloptions, ', ') || ')',
    'owner', pg_get_userbyid(c.relowner),
    'as', pg_get_viewdef(c.oid)
  ) as definition
from pg_class c
join pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('v', 'm')
  and n.nspname !~ '^pg_'
  and n.nspname <> 'information_schema'
  and not exists (
    select 1 from pg_depend d
    where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e'
  )

-- name: function
-- Functions and procedures as they would be created, with their owners.
select
  format('%I.%I(%s)', n.nspname, p.proname, pg_get_function_identity_arguments(p.oid)) as name,
  concat_ws(' ',
    case when p.prokind = 'a' then 'aggregate' else pg_get_functiondef(p.oid) end,
    'owner', pg_get_userbyid(p.proowner)
  ) as definition
from pg_proc p
join pg_namespace n on n.oid = p.pronamespace
where n.nspname !~ '^pg_'
  and n.nspname <> 'information_schema'
  and not exists (
    select 1 from pg_depend d
    where d.classid = 'pg_proc'::regclass and d.objid = p.oid and d.deptype = 'e'
  )

-- name: grant
-- Who may do what: one row for each object and grantee; an asterisk is the right to pass it on.
with objects as (
  select
    case when c.relkind = 'S' then 'sequence ' else 'table ' end
      || format('%I.%I', n.nspname, c.relname) as name,
    coalesce(c.relacl, acldefault(case when c.relkind = 'S' then 's'::"char" else 'r'::"char" end,
      c.relowner)) as acl
  from pg_class c
  join pg_namespace n on n.oid = c.relnamespace
  where c.relkind in ('r', 'p', 'f', 'v', 'm', 'S')
    and n.nspname !~ '^pg_'
    and n.nspname <> 'information_schema'
    and not exists (
      select 1 from pg_depend d
      where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e'
    )
  union all
  select format('column %I.%I.%I', n.nspname, c.relname, a.attname), a.attacl
  from pg_attribute a
  join pg_class c on c.oid = a.attrelid
  join pg_namespace n on n.oid = c.relnamespace
  where a.attacl is not null
    and not a.attisdropped
    and n.nspname !~ '^pg_'
    and n.nspname <> 'information_schema'
  union all
  select
    format('function %I.%I(%s)', n.nspname, p.proname, pg_get_function_identity_arguments(p.oid)),
    coalesce(p.proacl, acldefault('f', p.proowner))
  from pg_proc p
  join pg_namespace n on n.oid = p.pronamespace
  where n.nspname !~ '^pg_'
    and n.nspname <> 'information_schema'
    and not exists (
      select 1 from pg_depend d
      where d.classid = 'pg_proc'::regclass and d.objid = p.oid and d.deptype = 'e'
    )
  union all
  select format('schema %I', n.nspname), coalesce(n.nspacl, acldefault('n', n.nspowner))
  from pg_namespace n
  where n.nspname !~ '^pg_'
    and n.nspname <> 'information_schema'
  union all
  select format('type %I.%I', n.nspname, t.typname), t.typacl
  from pg_type t
  join pg_namespace n on n.oid = t.typnamespace
  where t.typacl is not null
    and n.nspname !~ '^pg_'
    and n.nspname <> 'information_schema'
  union all
  select 'database', coalesce(d.datacl, acldefault('d', d.datdba))
  from pg_database d
  where d.datname = current_database()
),
privileges as (
  select
    o.name,
    case
      when a.grantee = 0 then 'public'
      when o.name = 'database' and r.rolcanlogin and pg_has_role(r.oid, 'service_role', 'member')
        then '{service}'
      when o.name = 'database' and r.rolcanlogin then '{client}'
      else r.rolname
    end as grantee,
    lower(a.privilege_type) || case when a.is_grantable then '*' else '' end as privilege
  from objects o
  cross join lateral aclexplode(o.acl) a
  left join pg_roles r on r.oid = a.grantee
)
select
  p.name || ' to ' || p.grantee as name,
  string_agg(distinct p.privilege, ', ' order by p.privilege) as definition
from privileges p
group by p.name, p.grantee

-- name: default_privilege
-- What future objects will be granted.
select
  concat_ws(' ',
    pg_get_userbyid(d.defaclrole),
    case d.defaclobjtype
      when 'r' then 'tables' when 'S' then 'sequences' when 'f' then 'functions'
      when 'T' then 'types' when 'n' then 'schemas' else 'large objects'
    end,
    'in ' || n.nspname
  ) as name,
  coalesce((
    select string_agg(
      format('%s to %s', lower(a.privilege_type),
        case a.grantee when 0 then 'public' else pg_get_userbyid(a.grantee) end), ', '
      order by a.grantee = 0, pg_get_userbyid(a.grantee), a.privilege_type)
    from aclexplode(d.defaclacl) a
  ), 'nothing') as definition
from pg_default_acl d
left join pg_namespace n on n.oid = d.defaclnamespace

-- name: comment
-- Comments on what is ours.
select i.type || ' ' || i.identity as name, d.description as definition
from pg_description d
cross join lateral pg_identify_object(d.classoid, d.objoid, d.objsubid) i
where d.classoid in (
    'pg_class'::regclass, 'pg_proc'::regclass, 'pg_type'::regclass, 'pg_constraint'::regclass,
    'pg_policy'::regclass, 'pg_trigger'::regclass, 'pg_namespace'::regclass
  )
  and coalesce(i.schema, '') !~ '^pg_'
  and coalesce(i.schema, '') <> 'information_schema'
  and d.objoid >= 16384
  and not exists (
    select 1 from pg_depend e
    where e.classid = d.classoid and e.objid = d.objoid and e.deptype = 'e'
  )

-- name: publication
-- Publications and their tables.
select
  p.pubname as name,
  concat_ws(' ',
    case when p.puballtables then 'all tables' end,
    (
      select 'tables ' || string_agg(format('%I.%I', t.schemaname, t.tablename), ', '
        order by t.schemaname, t.tablename)
      from pg_publication_tables t
      where t.pubname = p.pubname
    ),
    case when p.pubinsert then 'insert' end,
    case when p.pubupdate then 'update' end,
    case when p.pubdelete then 'delete' end,
    case when p.pubtruncate then 'truncate' end
  ) as definition
from pg_publication p

-- name: event_trigger
-- Event triggers, which only a superuser can make.
select
  t.evtname as name,
  format('on %s execute %s enabled %s', t.evtevent, t.evtfoid::regproc, t.evtenabled::text) as definition
from pg_event_trigger t
where not exists (
  select 1 from pg_depend d
  where d.classid = 'pg_event_trigger'::regclass and d.objid = t.oid and d.deptype = 'e'
)

-- name: statistics
-- Extended statistics.
select format('%I.%I', n.nspname, s.stxname) as name, pg_get_statisticsobjdef(s.oid) as definition
from pg_statistic_ext s
join pg_namespace n on n.oid = s.stxnamespace

-- name: text_search
-- Text search configurations and the dictionaries they map to.
select
  format('%I.%I', n.nspname, c.cfgname) as name,
  coalesce((
    select string_agg(format('%s:%s', m.maptokentype, m.mapdict::regdictionary), ', '
      order by m.maptokentype, m.mapseqno)
    from pg_ts_config_map m
    where m.mapcfg = c.oid
  ), '') as definition
from pg_ts_config c
join pg_namespace n on n.oid = c.cfgnamespace
where n.nspname !~ '^pg_'

-- name: setting
-- Settings of the database itself, and of roles in it.
select
  coalesce(pg_get_userbyid(nullif(s.setrole, 0)) || ' ', '') || split_part(c.setting, '=', 1) as name,
  substr(c.setting, strpos(c.setting, '=') + 1) as definition
from pg_db_role_setting s
cross join lateral unnest(s.setconfig) as c (setting)
where s.setdatabase = (select oid from pg_database where datname = current_database())
