-- What is for sale, under keys of three types.
create table public.products (
  id uuid primary key,
  name text not null default 'thing'
);
create trigger products_tombstone after delete on public.products
  referencing old table as gone
  for each statement execute function bulkhead.leave_tombstone('id');

create table public.codes (id text primary key);
create trigger codes_tombstone after delete on public.codes
  for each row execute function bulkhead.leave_tombstone('id');

create table public.numbers (id bigint primary key);
create trigger numbers_tombstone after delete on public.numbers
  referencing old table as gone
  for each statement execute function bulkhead.leave_tombstone('id');
create trigger numbers_fence before delete on public.numbers
  for each row execute function bulkhead.demand_fence('id');

-- migrate:down
drop table public.numbers;
drop table public.codes;
drop table public.products;
