-- The keyring: the keys of tenants, sealed by master keys that no database ever holds.

create table bulkhead.vault_masters (
  id bytea primary key check (octet_length(id) = 4),
  check_value bytea not null check (octet_length(check_value) = 16),
  state text not null check (state in ('current', 'previous', 'retired')),
  created_at timestamptz not null default now(),
  retired_at timestamptz,
  check ((state = 'retired') = (retired_at is not null))
);
comment on table bulkhead.vault_masters is
  'The master keys that sealed something here: an id and a value to know each again, no key.';
create unique index vault_masters_current on bulkhead.vault_masters (state)
  where state = 'current';

create sequence bulkhead.vault_key_ids as integer;

create table bulkhead.vault_keys (
  id integer primary key default nextval('bulkhead.vault_key_ids'),
  tenant text not null check (tenant <> ''),
  master bytea not null references bulkhead.vault_masters (id),
  wrapped bytea check (octet_length(wrapped) = 60),
  commitment bytea not null check (octet_length(commitment) = 16),
  state text not null check (state in ('current', 'previous', 'destroyed')),
  seals bigint not null default 0,
  created_at timestamptz not null default now(),
  rotated_at timestamptz,
  destroyed_at timestamptz,
  check ((wrapped is null) = (state = 'destroyed'))
);
alter sequence bulkhead.vault_key_ids owned by bulkhead.vault_keys.id;
comment on table bulkhead.vault_keys is 'The key of each tenant, sealed, and those it had before.';
comment on column bulkhead.vault_keys.commitment is
  'Follows from the key; another key that would open the same values has another one.';
comment on column bulkhead.vault_keys.seals is
  'How many values it may have sealed: processes take them in advance, a block at a time.';
create unique index vault_keys_current on bulkhead.vault_keys (tenant) where state = 'current';
create index vault_keys_tenant on bulkhead.vault_keys (tenant, id);
create index vault_keys_master on bulkhead.vault_keys (master) where state <> 'destroyed';

alter table bulkhead.vault_masters enable row level security;
alter table bulkhead.vault_masters force row level security;
alter table bulkhead.vault_keys enable row level security;
alter table bulkhead.vault_keys force row level security;

-- migrate:down
drop table bulkhead.vault_keys;
drop table bulkhead.vault_masters;
