-- Databases that another system makes: what it calls them, and servers that only one tenant has.

alter table bulkhead.fleet_servers add column reserved_for uuid;
comment on column bulkhead.fleet_servers.reserved_for is
  'The only tenant that is placed on it: it is an account of its owner. Null for everybody.';
create index fleet_servers_reserved on bulkhead.fleet_servers (reserved_for)
  where reserved_for is not null;

alter table bulkhead.fleet_tenants add column located text;
comment on column bulkhead.fleet_tenants.located is
  'What the provider calls the database, such as the reference of a project; null elsewhere.';

-- migrate:down
alter table bulkhead.fleet_tenants drop column located;
alter table bulkhead.fleet_servers drop column reserved_for;
