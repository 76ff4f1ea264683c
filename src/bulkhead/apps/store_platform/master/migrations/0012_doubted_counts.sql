-- Until now a product that was deleted with its variants was counted as one: what stores are known
-- to have is counted once more.

alter table public.usage_counters add column doubted_at timestamptz;
comment on column public.usage_counters.doubted_at is
  'Since when what is used may be wrong; null once it was counted in the database of the store.';
create index usage_counters_doubted on public.usage_counters (store_id)
  where doubted_at is not null;

create policy keep_house on public.usage_counters to current_user using (true) with check (true);
update public.usage_counters
set doubted_at = now()
where metric = 'products';
drop policy keep_house on public.usage_counters;

-- migrate:down
drop index public.usage_counters_doubted;
alter table public.usage_counters drop column doubted_at;
