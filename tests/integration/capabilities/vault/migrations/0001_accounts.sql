-- Something that has secrets.

create table public.accounts (
  id uuid primary key default gen_random_uuid(),
  tenant text not null,
  sealed_password bytea
);
alter table public.accounts enable row level security;
alter table public.accounts force row level security;

-- migrate:down
drop table public.accounts;
