-- Holds are remembered for a while after they were settled, so that nothing is counted twice.

alter table public.usage_holds add column settled_at timestamptz;
comment on table public.usage_holds is
  'What was taken from a limit before it is written in the database of a store; who wrote it, or
the next sweep that looks whether it is there, settles or releases it.';
comment on column public.usage_holds.settled_at is
  'When it was counted; whoever tries the same again a moment later finds that.';
comment on column public.usage_holds.checked_at is
  'When a sweep or another attempt has last taken it up; then only a sweep releases it.';
drop index public.usage_holds_oldest;
create index usage_holds_oldest on public.usage_holds ((coalesce(checked_at, created_at)), id)
  where settled_at is null;
create index usage_holds_settled on public.usage_holds (settled_at) where settled_at is not null;

-- migrate:down
delete from public.usage_holds
where settled_at is not null;
drop index public.usage_holds_settled;
drop index public.usage_holds_oldest;
create index usage_holds_oldest on public.usage_holds ((coalesce(checked_at, created_at)), id);
alter table public.usage_holds drop column settled_at;
comment on column public.usage_holds.checked_at is
  'When a sweep has last taken it up: one whose store is away does not keep others waiting.';
