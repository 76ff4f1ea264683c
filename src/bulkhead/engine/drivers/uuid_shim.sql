-- uuid_generate_v4() for servers without uuid-ossp, so that SQL written for Supabase runs.
set local role :"owner";

create or replace function extensions.uuid_generate_v4()
returns uuid
language sql
volatile
parallel safe
as $$
  select pg_catalog.gen_random_uuid()
$$;

grant execute on function extensions.uuid_generate_v4() to anon, authenticated, service_role;

reset role
