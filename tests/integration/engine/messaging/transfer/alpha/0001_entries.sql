-- What the steps of a transfer write in the coordinating database.

create table public.entries (
  saga_id uuid not null,
  kind text not null check (kind in ('opened', 'confirmed', 'rejected')),
  note text,
  primary key (saga_id, kind)
);
alter table public.entries enable row level security;
alter table public.entries force row level security;

-- migrate:down
drop table public.entries;
