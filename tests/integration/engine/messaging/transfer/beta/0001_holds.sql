-- What a transfer takes in the other database: never more than there is.

create table public.account (
  id integer primary key,
  available integer not null check (available >= 0)
);
create table public.holds (
  saga_id uuid primary key,
  amount integer not null
);
alter table public.account enable row level security;
alter table public.account force row level security;
alter table public.holds enable row level security;
alter table public.holds force row level security;
create policy fill on public.account for insert to current_user with check (true);
insert into public.account (id, available) values (1, 100);

-- migrate:down
drop table public.holds;
drop table public.account;
