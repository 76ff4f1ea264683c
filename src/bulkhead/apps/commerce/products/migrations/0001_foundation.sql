-- Functions and domains that the tables and policies of this database rely on.

create function private.is_staff() returns boolean
language sql stable set search_path = ''
as $$
  select coalesce(auth.jwt() -> 'app_metadata' ->> 'role' in ('staff', 'admin'), false)
$$;
comment on function private.is_staff() is
  'Whether the claims name a member of staff; policies call it as (select private.is_staff()).';
grant execute on function private.is_staff() to anon, authenticated, service_role;

create function private.touch_updated_at() returns trigger
language plpgsql set search_path = ''
as $$
begin
  new.updated_at := now();
  return new;
end
$$;
comment on function private.touch_updated_at() is
  'Trigger before update: keeps updated_at.';

create function private.refuse_change() returns trigger
language plpgsql set search_path = ''
as $$
begin
  raise exception 'column % of % never changes', tg_argv[0], tg_table_name
    using errcode = 'check_violation', table = tg_table_name, constraint = tg_name,
      column = tg_argv[0];
end
$$;
comment on function private.refuse_change() is
  'Trigger before update: refuses. Its WHEN clause says which change, its argument which column.';

create function private.check_state_edge() returns trigger
language plpgsql set search_path = ''
as $$
begin
  if old.state || '>' || new.state <> all (tg_argv) then
    raise exception '% may not go from state % to %', tg_table_name, old.state, new.state
      using errcode = 'check_violation', table = tg_table_name, constraint = tg_name,
        column = 'state';
  end if;
  return new;
end
$$;
comment on function private.check_state_edge() is
  'Trigger before update of state: refuses every edge that is not among its arguments "from>to".';

create domain public.money_amount as numeric(12, 2) check (value <> 'NaN');
comment on domain public.money_amount is 'An amount of money in the currency beside it; never NaN.';

create domain public.currency_code as text check (value ~ '^[A-Z]{3}$');
comment on domain public.currency_code is 'A currency by its ISO 4217 code.';

-- migrate:down
drop domain public.currency_code;
drop domain public.money_amount;
drop function private.check_state_edge();
drop function private.refuse_change();
drop function private.touch_updated_at();
drop function private.is_staff();
