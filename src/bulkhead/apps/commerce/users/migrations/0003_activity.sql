-- Sessions and the activity log: written by the application, read by the user they tell about.

create table public.user_sessions (
  id uuid primary key,
  user_id uuid not null references public.user_profiles (id) on delete cascade,
  started_at timestamptz not null default now(),
  last_seen_at timestamptz not null default now(),
  ended_at timestamptz,
  end_reason text check (end_reason in ('signed_out', 'revoked', 'expired')),
  address inet,
  user_agent text check (char_length(user_agent) <= 1000),
  device text check (char_length(device) <= 200),
  created_at timestamptz not null default now(),
  check ((ended_at is null) = (end_reason is null))
);
comment on table public.user_sessions is
  'Where a user is and was signed in; the id is the session id of the access token.';
create index user_sessions_user on public.user_sessions (user_id, started_at desc, id desc);

create table public.user_activity_logs (
  id uuid primary key default gen_random_uuid(),
  user_id uuid not null references public.user_profiles (id) on delete cascade,
  action text not null check (action ~ '^[a-z][a-z0-9_.]{0,79}$'),
  subject_kind text check (subject_kind in ('order', 'product', 'review', 'ticket', 'return')),
  subject_id uuid,
  details jsonb not null default '{}' check (jsonb_typeof(details) = 'object'),
  occurred_at timestamptz not null default now(),
  created_at timestamptz not null default now(),
  check ((subject_kind is null) = (subject_id is null))
);
comment on table public.user_activity_logs is
  'What a user did, newest first; fed from the other databases by events.';
create index user_activity_logs_user
  on public.user_activity_logs (user_id, occurred_at desc, id desc);
create index user_activity_logs_subject on public.user_activity_logs (subject_id)
  where subject_id is not null;

create function private.log_activity(p jsonb) returns integer
language sql set search_path = ''
as $$
  with logged as (
    insert into public.user_activity_logs
      (id, user_id, action, subject_kind, subject_id, details, occurred_at)
    select e.id, e.user_id, e.action, e.subject_kind, e.subject_id,
      coalesce(e.details, '{}'), coalesce(e.occurred_at, now())
    from jsonb_to_recordset(p) as e (
      id uuid, user_id uuid, action text, subject_kind text, subject_id uuid,
      details jsonb, occurred_at timestamptz
    )
    join public.user_profiles u on u.id = e.user_id
    on conflict (id) do nothing
    returning 1
  )
  select count(*)::integer from logged
$$;
comment on function private.log_activity(jsonb) is
  'Log [{id, user_id, action, subject_kind, subject_id, details, occurred_at}]; an id already logged
and a user who is gone are passed over. Returns how many entries are new.';

alter table public.user_sessions enable row level security;
alter table public.user_sessions force row level security;
alter table public.user_activity_logs enable row level security;
alter table public.user_activity_logs force row level security;

create policy read_own on public.user_sessions for select to authenticated
  using (user_id = (select auth.uid()));
grant select on public.user_sessions to authenticated;

create policy read_own on public.user_activity_logs for select to authenticated
  using (user_id = (select auth.uid()));
create policy read_staff on public.user_activity_logs for select to authenticated
  using ((select private.is_staff()));
grant select on public.user_activity_logs to authenticated;

-- migrate:down
drop function private.log_activity(jsonb);
drop table public.user_activity_logs;
drop table public.user_sessions;
