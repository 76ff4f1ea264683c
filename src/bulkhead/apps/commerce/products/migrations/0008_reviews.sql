-- Reviews with their votes and moderation; ratings and counters follow by statement triggers.
--
-- The triggers lock what they count on in a statement of its own and in the order of the ids.

create table public.verified_purchases (
  user_id uuid not null,
  product_id uuid not null references public.products (id) on delete cascade,
  order_id uuid not null,
  delivered_at timestamptz not null,
  created_at timestamptz not null default now(),
  primary key (user_id, product_id)
);
comment on table public.verified_purchases is
  'Who was delivered which product, told by the orders database.';
create index verified_purchases_product on public.verified_purchases (product_id);
create index verified_purchases_order on public.verified_purchases (order_id);

create table public.product_reviews (
  id uuid primary key default gen_random_uuid(),
  product_id uuid not null references public.products (id) on delete cascade,
  user_id uuid not null default auth.uid(),
  author_name text not null default '' check (char_length(author_name) <= 100),
  rating smallint not null check (rating between 1 and 5),
  title text not null default '' check (char_length(title) <= 200),
  body text not null default '' check (char_length(body) <= 10000),
  state text not null default 'pending' check (state in ('pending', 'approved', 'rejected')),
  moderated_at timestamptz,
  moderated_by uuid,
  moderation_note text check (char_length(moderation_note) <= 1000),
  verified_purchase boolean not null default false,
  helpful_count integer not null default 0 check (helpful_count >= 0),
  unhelpful_count integer not null default 0 check (unhelpful_count >= 0),
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint product_reviews_one_each unique (product_id, user_id)
);
comment on table public.product_reviews is
  'What customers say of a product, shown once approved; an edit asks for approval again.';
create index product_reviews_shown on public.product_reviews (product_id, created_at desc, id desc)
  where state = 'approved';
create index product_reviews_user on public.product_reviews (user_id, created_at desc, id desc);
create index product_reviews_queue on public.product_reviews (created_at, id)
  where state = 'pending';
create index product_reviews_moderator on public.product_reviews (moderated_by)
  where moderated_by is not null;
create trigger product_reviews_touch before update on public.product_reviews
  for each row execute function private.touch_updated_at();
create trigger product_reviews_keep_user before update on public.product_reviews
  for each row when (old.user_id is distinct from new.user_id)
  execute function private.refuse_change('user_id');
create trigger product_reviews_keep_product before update on public.product_reviews
  for each row when (old.product_id is distinct from new.product_id)
  execute function private.refuse_change('product_id');

create table public.review_votes (
  review_id uuid not null references public.product_reviews (id) on delete cascade,
  user_id uuid not null default auth.uid(),
  helpful boolean not null,
  created_at timestamptz not null default now(),
  primary key (review_id, user_id)
);
comment on table public.review_votes is 'Whether a reader found a review helpful: one vote each.';
create index review_votes_user on public.review_votes (user_id, created_at desc);
create trigger review_votes_keep_user before update on public.review_votes
  for each row when (old.user_id is distinct from new.user_id)
  execute function private.refuse_change('user_id');
create trigger review_votes_keep_review before update on public.review_votes
  for each row when (old.review_id is distinct from new.review_id)
  execute function private.refuse_change('review_id');

create function private.verify_review() returns trigger
language plpgsql security definer set search_path = ''
as $$
begin
  new.verified_purchase := exists (
    select 1
    from public.verified_purchases v
    where v.user_id = new.user_id
      and v.product_id = new.product_id
  );
  return new;
end
$$;
comment on function private.verify_review() is
  'Trigger before insert: marks the review of somebody to whom the product was delivered.';
create trigger product_reviews_verify before insert on public.product_reviews
  for each row execute function private.verify_review();

create function private.reopen_review() returns trigger
language plpgsql set search_path = ''
as $$
begin
  new.state := 'pending';
  new.moderated_at := null;
  new.moderated_by := null;
  return new;
end
$$;
comment on function private.reopen_review() is
  'Trigger before update: what was edited has to be approved again.';
create trigger product_reviews_reopen before update on public.product_reviews
  for each row when (
    old.state = new.state
    and (old.rating, old.title, old.body, old.author_name)
      is distinct from (new.rating, new.title, new.body, new.author_name)
  )
  execute function private.reopen_review();

create function private.apply_ratings(p jsonb) returns void
language plpgsql set search_path = ''
as $$
begin
  perform 1
  from public.products t
  where t.id in (select c.product_id from jsonb_to_recordset(p) as c (product_id uuid))
  order by t.id
  for no key update;

  update public.products t
  set rating_count = t.rating_count + n.count, rating_sum = t.rating_sum + n.sum
  from (
    select c.product_id, sum(c.count)::integer as count, sum(c.sum)::integer as sum
    from jsonb_to_recordset(p) as c (product_id uuid, count integer, sum integer)
    group by c.product_id
    having sum(c.count) <> 0 or sum(c.sum) <> 0
  ) n
  where t.id = n.product_id;
end
$$;
comment on function private.apply_ratings(jsonb) is
  'Add [{product_id, count, sum}] to the ratings of the products, in the order of their ids.';

create function private.count_ratings() returns trigger
language plpgsql security definer set search_path = ''
as $$
declare
  changes jsonb := '[]';
begin
  if tg_op in ('UPDATE', 'DELETE') then
    select changes || coalesce(jsonb_agg(jsonb_build_object(
      'product_id', o.product_id, 'count', -1, 'sum', -o.rating)), '[]')
    into changes
    from old_reviews o
    where o.state = 'approved';
  end if;
  if tg_op in ('INSERT', 'UPDATE') then
    select changes || coalesce(jsonb_agg(jsonb_build_object(
      'product_id', n.product_id, 'count', 1, 'sum', n.rating)), '[]')
    into changes
    from new_reviews n
    where n.state = 'approved';
  end if;
  if changes <> '[]' then
    perform private.apply_ratings(changes);
  end if;
  return null;
end
$$;
comment on function private.count_ratings() is
  'Trigger after statement: keeps the rating of the products to which reviews belong.';
create trigger product_reviews_count_inserted after insert on public.product_reviews
  referencing new table as new_reviews
  for each statement execute function private.count_ratings();
create trigger product_reviews_count_updated after update on public.product_reviews
  referencing old table as old_reviews new table as new_reviews
  for each statement execute function private.count_ratings();
create trigger product_reviews_count_deleted after delete on public.product_reviews
  referencing old table as old_reviews
  for each statement execute function private.count_ratings();

create function private.count_votes() returns trigger
language plpgsql security definer set search_path = ''
as $$
declare
  changes jsonb := '[]';
begin
  if tg_op in ('UPDATE', 'DELETE') then
    select changes || coalesce(jsonb_agg(jsonb_build_object(
      'review_id', o.review_id, 'helpful', o.helpful, 'count', -1)), '[]')
    into changes
    from old_votes o;
  end if;
  if tg_op in ('INSERT', 'UPDATE') then
    select changes || coalesce(jsonb_agg(jsonb_build_object(
      'review_id', n.review_id, 'helpful', n.helpful, 'count', 1)), '[]')
    into changes
    from new_votes n;
  end if;

  perform 1
  from public.product_reviews r
  where r.id in (select c.review_id from jsonb_to_recordset(changes) as c (review_id uuid))
  order by r.id
  for no key update;

  update public.product_reviews r
  set helpful_count = r.helpful_count + n.helpful, unhelpful_count = r.unhelpful_count + n.unhelpful
  from (
    select c.review_id,
      coalesce(sum(c.count) filter (where c.helpful), 0)::integer as helpful,
      coalesce(sum(c.count) filter (where not c.helpful), 0)::integer as unhelpful
    from jsonb_to_recordset(changes) as c (review_id uuid, helpful boolean, count integer)
    group by c.review_id
  ) n
  where r.id = n.review_id
    and (n.helpful <> 0 or n.unhelpful <> 0);
  return null;
end
$$;
comment on function private.count_votes() is
  'Trigger after statement: keeps the counters of the reviews that were voted on.';
create trigger review_votes_count_inserted after insert on public.review_votes
  referencing new table as new_votes
  for each statement execute function private.count_votes();
create trigger review_votes_count_updated after update on public.review_votes
  referencing old table as old_votes new table as new_votes
  for each statement execute function private.count_votes();
create trigger review_votes_count_deleted after delete on public.review_votes
  referencing old table as old_votes
  for each statement execute function private.count_votes();

create function private.verify_purchases(p jsonb) returns integer
language sql set search_path = ''
as $$
  with delivered as (
    insert into public.verified_purchases (user_id, product_id, order_id, delivered_at)
    select distinct on (d.user_id, d.product_id)
      d.user_id, d.product_id, d.order_id, d.delivered_at
    from jsonb_to_recordset(p) as d (
      user_id uuid, product_id uuid, order_id uuid, delivered_at timestamptz
    )
    join public.products t on t.id = d.product_id
    order by d.user_id, d.product_id, d.delivered_at
    on conflict (user_id, product_id) do nothing
    returning user_id, product_id
  ), marked as (
    update public.product_reviews r
    set verified_purchase = true
    from delivered d
    where r.user_id = d.user_id
      and r.product_id = d.product_id
  )
  select count(*)::integer from delivered
$$;
comment on function private.verify_purchases(jsonb) is
  'Note the deliveries [{user_id, product_id, order_id, delivered_at}] and mark the reviews already
written. Returns how many are new.';

alter table public.verified_purchases enable row level security;
alter table public.verified_purchases force row level security;
alter table public.product_reviews enable row level security;
alter table public.product_reviews force row level security;
alter table public.review_votes enable row level security;
alter table public.review_votes force row level security;

-- migrate:down
drop function private.verify_purchases(jsonb);
drop table public.review_votes;
drop table public.product_reviews;
drop table public.verified_purchases;
drop function private.count_votes();
drop function private.count_ratings();
drop function private.apply_ratings(jsonb);
drop function private.reopen_review();
drop function private.verify_review();
