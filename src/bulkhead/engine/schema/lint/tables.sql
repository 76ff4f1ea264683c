-- name: rls_disabled
-- A table without row level security shows every row to whoever may read it.
select r.label as object, 'row level security is off' as detail
from relations r
where r.kind in ('r', 'p')
  and not r.is_partition
  and not r.rls

-- name: rls_not_forced
-- Without FORCE the owner of a table, and every SECURITY DEFINER function of it, sees all rows.
select r.label, 'row level security is not forced'
from relations r
where r.kind in ('r', 'p')
  and r.rls
  and not r.forced

-- name: partition_without_rls
-- A partition that is queried directly is not guarded by the policies of its parent.
select r.label, 'a partition without row level security of its own'
from relations r
where r.kind in ('r', 'p')
  and r.is_partition
  and not r.rls

-- name: rls_without_policy
-- Clients were granted something on a table that no policy lets them reach.
select r.label,
  format('%s may %s, but no policy lets any row pass', g.grantee,
    string_agg(distinct g.privilege, ', ' order by g.privilege))
from relations r
join client_grants g on g.relation = r.oid
where r.rls
  and g.privilege in ('select', 'insert', 'update', 'delete')
  and not exists (
    select 1
    from policies p
    where p.relation = r.oid
      and p.permissive
      and p.verb in (g.privilege, 'all')
      and (p.roles && array[0::oid]
        or exists (select 1 from clients c where c.name = g.grantee and c.oid = any (p.roles)))
  )
group by r.label, g.grantee

-- name: write_without_read
-- Upserts, RETURNING and every WHERE need the right to read as well.
select r.label,
  format('%s may %s but not read', g.grantee,
    string_agg(distinct g.privilege, ', ' order by g.privilege))
from relations r
join client_grants g on g.relation = r.oid
where r.kind in ('r', 'p', 'v')
  and g.privilege in ('insert', 'update', 'delete')
  and not exists (
    select 1
    from client_grants s
    where s.relation = r.oid
      and s.privilege = 'select'
      and s.grantee in (g.grantee, 'public')
  )
group by r.label, g.grantee

-- name: client_holds_table_right
-- TRUNCATE passes over row level security, REFERENCES and TRIGGER let a client change a table.
select r.label, format('%s holds %s', g.grantee, string_agg(distinct g.privilege, ', '))
from relations r
join client_grants g on g.relation = r.oid
where g.privilege in ('truncate', 'references', 'trigger', 'maintain')
group by r.label, g.grantee

-- name: granted_to_everybody
-- What is granted to PUBLIC is granted to every role of the server, present and future.
select r.label, format('PUBLIC may %s', string_agg(distinct g.privilege, ', '))
from relations r
join client_grants g on g.relation = r.oid
where g.grantee = 'public'
group by r.label

-- name: materialized_view_exposed
-- A materialized view has no row level security.
select r.label, 'a materialized view within reach of clients'
from relations r
where r.kind = 'm'
  and (r.exposed or exists (select 1 from client_grants g where g.relation = r.oid))

-- name: foreign_table_exposed
-- A foreign table has no row level security.
select r.label, 'a foreign table within reach of clients'
from relations r
where r.kind = 'f'
  and (r.exposed or exists (select 1 from client_grants g where g.relation = r.oid))

-- name: view_bypasses_rls
-- A view without security_invoker reads with the rights of its owner, past row level security.
select r.label, 'a view without security_invoker'
from relations r
where r.kind = 'v'
  and (r.exposed or exists (select 1 from client_grants g where g.relation = r.oid))
  and not exists (
    select 1
    from unnest(r.options) o
    where o in ('security_invoker=true', 'security_invoker=on', 'security_invoker=1')
  )

-- name: foreign_key_unindexed
-- Without an index, deleting a row that is referred to reads the whole referring table.
select c.relation_label, format('foreign key %s', k.conname)
from pg_constraint k
join (select distinct relation, relation_label from columns) c on c.relation = k.conrelid
where k.contype = 'f'
  and not exists (
    select 1
    from pg_index i
    where i.indrelid = k.conrelid
      and i.indisvalid
      and (i.indkey::int2[])[0:array_length(k.conkey, 1) - 1] @> k.conkey
  )

-- name: policy_column_unindexed
-- A column that a policy compares with the user is looked for in every statement.
select distinct c.label, format('policy %s compares it with the user', p.name)
from policies p
join columns c on c.relation = p.relation
where p.both_texts ~ format('\m%s = \( SELECT auth\.uid\(\)', c.name)
  and not exists (
    select 1
    from pg_index i
    where i.indrelid = c.relation
      and i.indisvalid
      and i.indkey[0] = c.number
  )

-- name: number_accepts_nan
-- NaN is greater than every number, so that CHECK (x > 0) lets it pass, and sums become NaN.
select c.label, format('%s accepts NaN', format_type(c.type, null))
from columns c
join relations r on r.oid = c.relation
join pg_type t on t.oid = c.type
where r.kind in ('r', 'p')
  and c.generated = ''
  and coalesce(nullif(t.typbasetype, 0), t.oid) in (
    'numeric'::regtype, 'float8'::regtype, 'float4'::regtype
  )
  and not exists (
    select 1
    from pg_constraint k
    where (k.contypid = t.oid and t.oid <> 0 or k.conrelid = c.relation and c.number = any (k.conkey))
      and k.contype = 'c'
      and pg_get_constraintdef(k.oid) ~* '''NaN''|<'
  )

-- name: table_without_key
-- Without a primary key rows cannot be replicated, swept or named.
select r.label, 'no primary key'
from relations r
where r.kind in ('r', 'p')
  and not r.is_partition
  and not exists (
    select 1 from pg_constraint k where k.conrelid = r.oid and k.contype = 'p'
  )

-- name: key_guessable
-- A serial key tells how many rows there are, and lets clients guess those of others.
select c.label, 'a serial key that clients can read'
from columns c
join relations r on r.oid = c.relation
join pg_constraint k on k.conrelid = r.oid and k.contype = 'p' and k.conkey = array[c.number]
where c.type in ('int2'::regtype, 'int4'::regtype, 'int8'::regtype)
  and (c.identity <> '' or exists (
    select 1
    from pg_attrdef d
    where d.adrelid = c.relation
      and d.adnum = c.number
      and pg_get_expr(d.adbin, d.adrelid) ~ 'nextval'
  ))
  and exists (
    select 1
    from client_grants g
    where g.relation = r.oid
      and g.privilege = 'select'
      and g.number in (0, c.number)
  )

-- name: secret_readable
-- A column that sounds like a secret can be read by clients, encrypted or not.
select distinct c.label, format('%s may read it', string_agg(distinct g.grantee, ', '))
from columns c
join client_grants g on g.relation = c.relation and g.number in (0, c.number)
where g.privilege = 'select'
  and c.name ~ '(^|_)(password|passphrase|secret|private_key|api_key|key_encrypted|ciphertext|access_token|refresh_token|credentials)(_|$)'
group by c.label

-- name: publication_shows_all_columns
-- Replication does not ask policies: whoever forwards changes has to.
select r.label, format('published by %s with replica identity full', p.pubname)
from pg_publication_rel x
join pg_publication p on p.oid = x.prpubid
join relations r on r.oid = x.prrelid
join pg_class c on c.oid = r.oid
where c.relreplident = 'f'
