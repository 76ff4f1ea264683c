-- What is inside a Supabase project besides what Supabase has put there; safe to repeat. Runs as
-- `postgres`, which is no superuser and may not even own the database: nothing of the database
-- itself is changed, and `auth`, `extensions` and `public` stay whose they are.
create schema if not exists private authorization :"owner";
create schema if not exists bulkhead authorization :"owner";
create schema if not exists supabase_migrations authorization :"owner";

-- By this the owner may use `auth` and `extensions`, whose rights `postgres` cannot hand on.
grant anon to :"owner";
grant usage, create on schema public to :"owner";

-- The database's own search path is for Supabase's roles.
alter role :"client" set search_path = public, extensions;
alter role :"service" set search_path = public, extensions;

set local role :"owner";
grant usage on schema private to anon, authenticated, service_role;
grant usage on schema bulkhead to service_role;
alter default privileges revoke execute on functions from public;
alter default privileges in schema public, private, bulkhead
  grant all on tables to service_role;
alter default privileges in schema public, private, bulkhead
  grant all on sequences to service_role;
alter default privileges in schema public, private, bulkhead
  grant execute on functions to service_role;
reset role
