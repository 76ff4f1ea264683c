-- What has happened in the publishing database: how far each key has counted.

create table public.counters (
  key text primary key,
  number integer not null,
  confirmed integer not null default 0
);
alter table public.counters enable row level security;
alter table public.counters force row level security;

-- migrate:down
drop table public.counters;
