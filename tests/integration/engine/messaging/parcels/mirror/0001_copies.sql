-- What handlers have done: no constraint keeps anything from being recorded twice.

create table public.copies (
  place bigint generated always as identity primary key,
  handler text not null,
  key text not null,
  number integer not null
);
alter table public.copies enable row level security;
alter table public.copies force row level security;

-- migrate:down
drop table public.copies;
