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
  raise exception '% of % never changes', tg_argv[0], tg_table_name
    using errcode = 'check_violation', table = tg_table_name, constraint = tg_name,
      column = tg_argv[0];
end
$$;
comment on function private.refuse_change() is
  'Trigger before update or delete: refuses. Its WHEN clause says which, its argument what.';

create function private.today() returns date
language sql stable set search_path = ''
as $$
  select (now() at time zone 'UTC')::date
$$;
comment on function private.today() is 'The day in UTC, on which everything is counted.';
grant execute on function private.today() to authenticated, service_role;

create domain public.money_amount as numeric(14, 2) check (value <> 'NaN');
comment on domain public.money_amount is 'An amount of money in the currency beside it; never NaN.';

create domain public.currency_code as text check (value ~ '^[A-Z]{3}$');
comment on domain public.currency_code is 'A currency by its ISO 4217 code.';

create domain public.plan_name as text
  check (value in ('free', 'starter', 'professional', 'enterprise'));
comment on domain public.plan_name is 'What a store pays for.';

-- migrate:down
drop domain public.plan_name;
drop domain public.currency_code;
drop domain public.money_amount;
drop function private.today();
drop function private.refuse_change();
drop function private.touch_updated_at();
drop function private.is_staff();
