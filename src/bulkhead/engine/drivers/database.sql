-- What is inside every database of ours; safe to repeat. Runs as the administrator, who steps
-- down to the owner first, so that nothing here belongs to a superuser.
set local role :"owner";

create schema if not exists auth;
create schema if not exists extensions;
create schema if not exists private;
create schema if not exists bulkhead;
create schema if not exists supabase_migrations;

alter schema public owner to :"owner";
revoke all on schema public from public;
grant usage on schema public, auth, extensions, private to anon, authenticated, service_role;
grant usage on schema bulkhead to service_role;

-- Nothing is open by itself: a migration grants what clients may do.
alter default privileges revoke execute on functions from public;
alter default privileges in schema public, private, auth, bulkhead
  grant all on tables to service_role;
alter default privileges in schema public, private, auth, bulkhead
  grant all on sequences to service_role;
alter default privileges in schema public, private, auth, bulkhead
  grant execute on functions to service_role;

-- Claims are set for one transaction; after it the setting is an empty string, not null. As in
-- Supabase, a claim that stands alone (`request.jwt.claim.sub`), as tests of policies set it, comes
-- before the whole of them. The functions have no `set search_path`, because that would keep the
-- planner from inlining them.
create or replace function auth.jwt()
returns jsonb
language sql
stable
parallel safe
as $$
  select coalesce(
    nullif(pg_catalog.current_setting('request.jwt.claim', true), ''),
    nullif(pg_catalog.current_setting('request.jwt.claims', true), '')
  )::pg_catalog.jsonb
$$;

create or replace function auth.uid()
returns uuid
language sql
stable
parallel safe
as $$
  select coalesce(
    nullif(pg_catalog.current_setting('request.jwt.claim.sub', true), ''),
    nullif(pg_catalog.current_setting('request.jwt.claims', true), '')::pg_catalog.jsonb ->> 'sub'
  )::pg_catalog.uuid
$$;

create or replace function auth.role()
returns text
language sql
stable
parallel safe
as $$
  select coalesce(
    nullif(pg_catalog.current_setting('request.jwt.claim.role', true), ''),
    nullif(pg_catalog.current_setting('request.jwt.claims', true), '')::pg_catalog.jsonb ->> 'role'
  )
$$;

create or replace function auth.email()
returns text
language sql
stable
parallel safe
as $$
  select coalesce(
    nullif(pg_catalog.current_setting('request.jwt.claim.email', true), ''),
    nullif(pg_catalog.current_setting('request.jwt.claims', true), '')::pg_catalog.jsonb ->> 'email'
  )
$$;

grant execute on function auth.jwt(), auth.uid(), auth.role(), auth.email()
  to anon, authenticated, service_role;

reset role
