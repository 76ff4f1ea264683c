-- What handlers have done: no constraint keeps anything from being recorded twice.

create table public.receipts (
  place bigint generated always as identity primary key,
  handler text not null,
  key text not null,
  number integer not null
);
alter table public.receipts enable row level security;
alter table public.receipts force row level security;

-- migrate:down
drop table public.receipts;
