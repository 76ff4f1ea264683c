-- What a store is connected to says whether its database has answered.

create or replace function private.follow_tenant() returns trigger
language plpgsql set search_path = ''
as $$
begin
  if tg_op = 'DELETE' then
    update public.stores
    set database_status = case database_status
      when 'provisioning' then 'failed'
      else 'deleted'
    end
    where id = old.id
      and database_status not in ('failed', 'deleted');
    return null;
  end if;
  update public.stores s
  set database_type = new.kind,
    database_status = new.state,
    database_name = new.database,
    database_host = coalesce(
      (
        select left(f.address, 255) from bulkhead.fleet_servers f
        where f.name = new.server and new.sealed_connection is null
      ),
      s.database_host
    )
  where s.id = new.id;
  if tg_op = 'UPDATE' and old.state = 'provisioning' and new.state = 'active' then
    update public.integration_configs
    set connection_status = 'working',
      last_error = null,
      tested_at = now()
    where store_id = new.id
      and purpose = 'database';
  end if;
  return null;
end
$$;

create or replace function private.follow_job() returns trigger
language plpgsql set search_path = ''
as $$
begin
  update public.stores
  set database_status = 'failed'
  where id = new.tenant
    and database_status = 'provisioning';
  if new.state = 'failed' then
    update public.integration_configs
    set connection_status = 'failed',
      last_error = left(concat_ws(': ', new.error ->> 'code', new.message), 1000),
      tested_at = now()
    where store_id = new.tenant
      and purpose = 'database';
  end if;
  return null;
end
$$;

-- Those of stores that are served already; the owner of the tables has no policy of its own.
create policy keep_house on public.integration_configs to current_user
  using (true) with check (true);
create policy keep_house on public.stores for select to current_user using (true);
update public.integration_configs c
set connection_status = 'working',
  tested_at = c.updated_at
from public.stores s
where s.id = c.store_id
  and c.purpose = 'database'
  and c.connection_status = 'untested'
  and s.database_status in ('active', 'suspended', 'moving');
drop policy keep_house on public.stores;
drop policy keep_house on public.integration_configs;

-- migrate:down
create or replace function private.follow_tenant() returns trigger
language plpgsql set search_path = ''
as $$
begin
  if tg_op = 'DELETE' then
    update public.stores
    set database_status = case database_status
      when 'provisioning' then 'failed'
      else 'deleted'
    end
    where id = old.id
      and database_status not in ('failed', 'deleted');
    return null;
  end if;
  update public.stores s
  set database_type = new.kind,
    database_status = new.state,
    database_name = new.database,
    database_host = coalesce(
      (
        select left(f.address, 255) from bulkhead.fleet_servers f
        where f.name = new.server and new.sealed_connection is null
      ),
      s.database_host
    )
  where s.id = new.id;
  return null;
end
$$;

create or replace function private.follow_job() returns trigger
language plpgsql set search_path = ''
as $$
begin
  update public.stores
  set database_status = 'failed'
  where id = new.tenant
    and database_status = 'provisioning';
  return null;
end
$$;
