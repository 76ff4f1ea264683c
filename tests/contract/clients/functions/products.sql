-- What front ends call on the catalogue: functions, a computed column and ranges.

create function public.search_titles(words text, at_most integer default 5)
returns setof public.products
language sql stable set search_path = ''
as $$
  select p.*
  from public.products p
  where p.title ilike '%' || words || '%'
  order by p.title
  limit at_most
$$;
comment on function public.search_titles(text, integer) is 'Products whose title has these words.';

create function public.mean_rating(public.products) returns numeric
language sql stable set search_path = ''
as $$
  select round($1.rating_sum::numeric / nullif($1.rating_count, 0), 1)
$$;
comment on function public.mean_rating(public.products) is 'A column that is computed when asked for.';

create function public.opening_hours()
returns table (day text, hours int4range)
language sql immutable set search_path = ''
as $$
  values ('monday', int4range(9, 17)), ('friday', int4range(9, 20)), ('saturday', int4range(10, 14))
$$;
comment on function public.opening_hours() is 'Full hours of the day at which the shop is open.';

create function public.add_up(a integer, b integer) returns integer
language sql immutable set search_path = ''
as $$
  select a + b
$$;
comment on function public.add_up(integer, integer) is 'Something as simple as can be.';

create function public.pay_first() returns void
language plpgsql set search_path = ''
as $$
begin
  raise sqlstate 'PT402' using
    message = 'Payment Required', detail = 'The quota is used up', hint = 'Upgrade the plan';
end
$$;
comment on function public.pay_first() is 'Refuses with a status of its own.';

grant execute on function public.search_titles(text, integer), public.mean_rating(public.products),
    public.opening_hours(), public.add_up(integer, integer), public.pay_first()
  to anon, authenticated, service_role;

-- migrate:down
drop function public.pay_first();
drop function public.add_up(integer, integer);
drop function public.opening_hours();
drop function public.mean_rating(public.products);
drop function public.search_titles(text, integer);
