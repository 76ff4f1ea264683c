-- Who did what to which store: a chain in which nothing can be changed or left out unnoticed.

create table public.audit_logs (
  id uuid primary key default gen_random_uuid(),
  position bigint not null unique,
  store_id uuid,
  actor_id uuid,
  action text not null check (action ~ '^[a-z_]+\.[a-z_]+$' and char_length(action) <= 100),
  details jsonb not null default '{}'
    check (jsonb_typeof(details) = 'object' and pg_column_size(details) <= 16384),
  created_at timestamptz not null default now(),
  previous_hash bytea not null,
  hash bytea not null
);
comment on table public.audit_logs is
  'Each row has the hash of the one before it and of itself; rows are added and never changed.';
create index audit_logs_store on public.audit_logs (store_id, position desc);
create index audit_logs_newest on public.audit_logs (created_at desc, id desc);

create table private.audit_heads (
  singleton boolean primary key default true check (singleton),
  position bigint not null,
  hash bytea not null
);
comment on table private.audit_heads is 'The end of the chain, locked by whoever adds to it.';

create function private.hash_audit_log(entry public.audit_logs) returns bytea
language sql immutable set search_path = ''
as $$
  select pg_catalog.sha256(
    entry.previous_hash || pg_catalog.convert_to(
      pg_catalog.jsonb_build_array(
        entry.position, entry.id, entry.store_id, entry.actor_id, entry.action, entry.details,
        pg_catalog.date_part('epoch', entry.created_at)
      )::text,
      'UTF8'
    )
  )
$$;
comment on function private.hash_audit_log(public.audit_logs) is
  'The hash that a row of the chain must have.';
grant execute on function private.hash_audit_log(public.audit_logs) to service_role;

create function private.chain_audit_log() returns trigger
language plpgsql set search_path = ''
as $$
begin
  update private.audit_heads
  set position = position + 1
  where singleton
  returning position, hash into strict new.position, new.previous_hash;
  new.created_at := now();
  new.hash := private.hash_audit_log(new);
  update private.audit_heads set hash = new.hash where singleton;
  return new;
end
$$;
comment on function private.chain_audit_log() is
  'Trigger before insert: puts the row at the end of the chain.';
create trigger audit_logs_chain before insert on public.audit_logs
  for each row execute function private.chain_audit_log();
create trigger audit_logs_keep before update or delete on public.audit_logs
  for each row execute function private.refuse_change('row');
create trigger audit_logs_keep_all before truncate on public.audit_logs
  for each statement execute function private.refuse_change('row');

alter table public.audit_logs enable row level security;
alter table public.audit_logs force row level security;
alter table private.audit_heads enable row level security;
alter table private.audit_heads force row level security;

create policy begin_chain on private.audit_heads for insert to current_user with check (true);
insert into private.audit_heads (position, hash) values (0, pg_catalog.sha256('store_platform'));
drop policy begin_chain on private.audit_heads;
grant select, update on private.audit_heads to service_role;

create policy read_staff on public.audit_logs for select to authenticated
  using ((select private.is_staff()));
grant select on public.audit_logs to authenticated;

-- migrate:down
drop trigger audit_logs_chain on public.audit_logs;
drop function private.chain_audit_log();
drop function private.hash_audit_log(public.audit_logs);
drop table public.audit_logs;
drop table private.audit_heads;
