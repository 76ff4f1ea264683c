-- name: definer_search_path
-- A SECURITY DEFINER function without a pinned search_path runs what its caller puts in the way.
select f.label, coalesce('search_path is ' || (
  select substr(s, 13) from unnest(f.settings) s where s like 'search_path=%'
), 'no search_path is set')
from functions f
where f.is_definer
  and not exists (
    select 1
    from unnest(f.settings) s
    where s in ('search_path=', 'search_path=""', 'search_path=pg_catalog',
      'search_path=pg_catalog, pg_temp')
  )

-- name: definer_callable
-- A SECURITY DEFINER function that clients may call is a way past every policy.
select f.label, format('%s may call it', array_to_string(f.callers, ', '))
from functions f
where f.is_definer
  and not f.is_trigger
  and f.callers <> '{}'
  and (f.exposed or 'public' = any (f.callers))

-- name: definer_granted
-- A SECURITY DEFINER function granted to clients has to check by itself what they may see.
select f.label, format('%s may call it', array_to_string(f.callers, ', '))
from functions f
where f.is_definer
  and not f.is_trigger
  and not f.exposed
  and f.callers <> '{}'
  and not 'public' = any (f.callers)

-- name: function_for_everybody
-- EXECUTE is granted to PUBLIC unless it is revoked.
select f.label, 'PUBLIC may call it'
from functions f
where 'public' = any (f.callers)

-- name: function_leakproof
-- A LEAKPROOF function runs before the policies, on rows that the caller may not see.
select f.label, 'it is marked LEAKPROOF'
from functions f
where f.is_leakproof

-- name: function_search_path
-- Without a pinned search_path a function means what its caller makes of it.
select f.label, 'no search_path is set'
from functions f
where not f.is_definer
  and f.language in ('sql', 'plpgsql')
  and f.schema <> 'auth'
  and f.schema <> 'extensions'
  and not exists (select 1 from unnest(f.settings) s where s like 'search_path=%')

-- name: function_changes_scope
-- A function that changes role or claims changes them for the rest of the transaction.
select f.label, 'it sets the role or the claims'
from functions f
where f.body ~* '\mset\s+(local\s+|session\s+)?(role|session\s+authorization)\M'
  or f.body ~* 'set_config\(\s*''(role|request\.)'
  or f.settings && array['row_security=off']

-- name: function_pastes_sql
-- EXECUTE of text pasted with || is open to injection; use format with %I and %L, and USING.
select f.label, 'EXECUTE of a concatenated text'
from functions f
where f.language = 'plpgsql'
  and f.body ~* '\mexecute\s+[^;]*\|\|'
