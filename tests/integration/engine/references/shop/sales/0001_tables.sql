-- What refers to it: by an index, without one, with a key of two columns, by text and by number.
create table public.lines (
  id bigint primary key,
  product_id uuid,
  kind text not null default 'sale'
);
create index lines_product on public.lines (product_id);

create table public.gifts (
  shelf text,
  slot integer,
  product_id uuid,
  primary key (shelf, slot)
);

create table public.labels (
  id integer primary key,
  code text,
  number integer
);
create index labels_code on public.labels (code);
create index labels_number on public.labels (number);

create table public.wishes (
  id integer primary key,
  product_id uuid not null
);
create index wishes_product on public.wishes (product_id);

create table public.drafts (
  id integer primary key,
  code text,
  number integer
);

-- migrate:down
drop table public.drafts;
drop table public.wishes;
drop table public.labels;
drop table public.gifts;
drop table public.lines;
