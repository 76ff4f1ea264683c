-- Something of the application's own beside the registry.
create table public.owners (
  id uuid primary key,
  name text not null
);
alter table public.owners enable row level security;
alter table public.owners force row level security;

-- migrate:down
drop table public.owners;
