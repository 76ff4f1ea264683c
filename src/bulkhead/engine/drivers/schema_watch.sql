-- Tells whoever keeps a copy of the schema that it has changed, in PostgREST's words; safe to
-- repeat. Only a superuser may have event triggers, and only one who owns their functions is safe.
create or replace function bulkhead.tell_schema_change()
returns event_trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  if tg_event = 'sql_drop' then
    perform from pg_event_trigger_dropped_objects() o where not o.is_temporary;
  else
    perform
    from pg_event_trigger_ddl_commands() c
    where c.schema_name is distinct from 'pg_temp';
  end if;
  if found then
    notify pgrst, 'reload schema';
  end if;
end
$$;

revoke all on function bulkhead.tell_schema_change() from public;

do $$
begin
  if not exists (select 1 from pg_event_trigger where evtname = 'bulkhead_schema_changed') then
    create event trigger bulkhead_schema_changed on ddl_command_end
      execute function bulkhead.tell_schema_change();
    create event trigger bulkhead_schema_dropped on sql_drop
      execute function bulkhead.tell_schema_change();
  end if;
end
$$
