-- A key that was rotated is looked after until nothing is sealed with it any more.

alter table bulkhead.vault_keys add column emptied_at timestamptz;
comment on column bulkhead.vault_keys.emptied_at is
  'When all that a former key sealed had been sealed anew; backups may still need it.';
create index vault_keys_emptying on bulkhead.vault_keys (id)
  where state = 'previous' and emptied_at is null;

-- migrate:down
drop index bulkhead.vault_keys_emptying;
alter table bulkhead.vault_keys drop column emptied_at;
