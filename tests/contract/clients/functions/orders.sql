-- What front ends call on the orders: it runs as the caller, so that policies apply to it.

create function public.spending()
returns table (currency text, orders bigint, total numeric)
language sql stable set search_path = ''
as $$
  select o.currency::text, count(*), sum(o.total)
  from public.orders o
  where o.state = 'confirmed'
  group by o.currency
$$;
comment on function public.spending() is 'How many orders the caller can see, and what they cost.';

create function public.whoami() returns jsonb
language sql stable set search_path = ''
as $$
  select jsonb_build_object(
    'id', auth.uid(), 'role', auth.role(), 'email', auth.email(), 'level', auth.jwt() ->> 'aal',
    'user', current_user
  )
$$;
comment on function public.whoami() is 'Whom policies see.';

grant execute on function public.spending(), public.whoami() to anon, authenticated, service_role;

-- migrate:down
drop function public.whoami();
drop function public.spending();
