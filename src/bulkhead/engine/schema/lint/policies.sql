-- name: policy_for_everybody
-- A policy without TO holds for every role, also for those who are not signed in.
select p.label, 'no role is named'
from policies p
where p.roles = array[0::oid]

-- name: policy_without_check
-- Without WITH CHECK the USING condition decides what may be written; say what is meant.
select p.label, format('a policy for %s without WITH CHECK', p.verb)
from policies p
where p.verb in ('insert', 'update', 'all')
  and p.for_clients
  and p.check_text is null

-- name: policy_all_with_or
-- FOR ALL with OR: whoever may see a row by any of the conditions may also change and delete it.
select p.label, 'the condition to see a row is also the one to change it'
from policies p
where p.verb = 'all'
  and p.permissive
  and p.for_clients
  and p.using_text ~ '\mOR\M'

-- name: policy_always_true
-- A write policy that is always true lets every client write every row.
select p.label, format('clients may %s any row', p.verb)
from policies p
where p.permissive
  and p.for_clients
  and p.verb <> 'select'
  and (btrim(p.using_text, '()') = 'true' or btrim(p.check_text, '()') = 'true')

-- name: policy_trusts_user_metadata
-- Users write their own user_metadata; only app_metadata is the application's.
select p.label, 'the condition reads user_metadata'
from policies p
where p.both_texts ~ 'user_metadata'
union all
select f.label, 'the function reads user_metadata of the claims'
from functions f
where f.body ~* 'jwt.{0,200}user_metadata'

-- name: policy_evaluates_per_row
-- A bare call is made for every row; in a scalar subquery it is made once.
select p.label, 'auth.uid() or another function of the claims stands outside of (select ...)'
from policies p
where p.both_texts ~ '(?<!SELECT \(?\(?)\m(auth|private)\.\w+\(\)'
  or p.both_texts ~ '(?<!SELECT [^)]{0,40})\mcurrent_setting\('

-- name: policy_reads_own_table
-- A policy that queries its own table calls itself; move the query into a function in private.
select p.label, 'the condition queries its own table'
from policies p
where p.both_texts ~ format('(FROM|JOIN) \(*%s\M', replace(p.relation_label, '.', '\.'))

-- name: policy_without_rls
-- Policies have no effect while row level security is off.
select p.label, format('%s has policies but no row level security', p.relation_label)
from policies p
join relations r on r.oid = p.relation
where not r.rls

-- name: policy_without_grant
-- A policy for a role that has no right to the command does nothing but mislead.
select p.label, format('%s may not %s there', c.name, v.verb)
from policies p
cross join lateral unnest(p.roles) as o (role)
join clients c on c.oid = o.role and c.oid <> 0
cross join lateral (
  select p.verb as verb where p.verb <> 'all'
  union all
  select w.verb from unnest(array['select', 'insert', 'update', 'delete']) as w (verb)
  where p.verb = 'all'
) v
where not exists (
  select 1
  from client_grants g
  where g.relation = p.relation
    and g.privilege = v.verb
    and g.grantee in ('public', c.name)
)

-- name: policies_overlap
-- Permissive policies are joined by OR: a row passes when any of them lets it.
select format('%s for %s to %s', p.relation_label, v.verb, c.name),
  string_agg(p.name, ', ' order by p.name)
from policies p
join clients c on c.oid = any (p.roles)
cross join unnest(array['select', 'insert', 'update', 'delete']) as v (verb)
where p.permissive
  and p.verb in (v.verb, 'all')
group by p.relation_label, v.verb, c.name
having count(*) > 1

-- name: policy_inequality
-- With NULL, "not equal" is neither true nor false; a negated comparison with the user leaks.
select p.label, 'the user is compared by <> or IS DISTINCT FROM'
from policies p
where p.both_texts ~ '(<>|IS DISTINCT FROM) \( SELECT auth\.uid\(\)'
  or p.both_texts ~ 'NOT \([^)]*= \( SELECT auth\.uid\(\)'

-- name: policy_calls_volatile
-- A volatile function in a policy is called for every row and keeps indexes from being used.
select distinct p.label, format('%s is volatile', f.label)
from policies p
join pg_depend d on d.classid = 'pg_policy'::regclass and d.objid = p.oid
  and d.refclassid = 'pg_proc'::regclass
join functions f on f.oid = d.refobjid
where f.volatility = 'v'

-- name: claims_unguarded
-- In a used session an unset claim is an empty string, and ''::jsonb raises.
select p.label, 'current_setting(...) is used without nullif'
from policies p
where p.both_texts ~ 'current_setting\(''request\.'
  and p.both_texts !~* 'nullif'
union all
select f.label, 'current_setting(...) is used without nullif'
from functions f
where f.body ~* 'current_setting\(\s*''request\.'
  and f.body !~* 'nullif'
