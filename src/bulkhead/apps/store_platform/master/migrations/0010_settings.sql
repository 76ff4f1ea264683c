-- A setting that nobody could follow is refused where it is written.

create function private.verify_setting() returns trigger
language plpgsql set search_path = ''
as $$
begin
  if new.name !~ '^stores_per_owner(\.[0-9a-f]{32})?$' then
    raise exception 'there is no setting %', new.name
      using errcode = 'check_violation', table = tg_table_name, constraint = tg_name,
        column = 'name',
        hint = 'Use stores_per_owner for all owners, and for one stores_per_owner. with the '
          '32 hexadecimal digits of the id, without hyphens.';
  end if;
  -- So much that it fits, written as people write it: 5.0 is none.
  if new.value::text !~ '^(0|[1-9][0-9]{0,8})$' then
    raise exception '% must be a whole number from 0 to 999999999', new.name
      using errcode = 'check_violation', table = tg_table_name, constraint = tg_name,
        column = 'value',
        hint = 'Write the number alone, such as 100; neither in quotation marks nor in a list.';
  end if;
  return new;
end
$$;
comment on function private.verify_setting() is
  'Trigger before insert or update: refuses what would be as if it were not set.';
create trigger platform_settings_verify before insert or update on public.platform_settings
  for each row when (new.name like 'stores\_per\_%')
  execute function private.verify_setting();

-- migrate:down
drop trigger platform_settings_verify on public.platform_settings;
drop function private.verify_setting();
