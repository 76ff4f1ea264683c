"""A small database in which everything is as it should be; the tests break it piece by piece."""

from pathlib import Path

from bulkhead.engine.migrations.files import MigrationSet, build_set, parse_migration
from bulkhead.engine.schema.probes.samples import Case, Samples
from bulkhead.engine.topology import Access, Database, Table

UP = """-- Notes and what hangs on them.
create function private.is_staff() returns boolean language sql stable set search_path = ''
as $$
  select coalesce(auth.jwt() -> 'app_metadata' ->> 'role' in ('staff', 'admin'), false)
$$;
grant execute on function private.is_staff() to anon, authenticated;

create domain money_amount as numeric(12, 2) check (value <> 'NaN');

create table topics (
  id uuid primary key default gen_random_uuid(),
  title text not null unique,
  state text not null default 'draft' check (state in ('draft', 'published'))
);
create table notes (
  id uuid primary key default gen_random_uuid(),
  user_id uuid not null default auth.uid(),
  topic_id uuid references topics (id),
  body text not null check (char_length(body) between 1 and 200),
  price money_amount not null default 0,
  pinned boolean not null default false,
  created_at timestamptz not null default now()
);
create index notes_user on notes (user_id);
create index notes_topic on notes (topic_id);
create table attachments (
  note_id uuid not null references notes (id) on delete cascade,
  name text not null,
  primary key (note_id, name)
);
create table secrets (
  id bigint generated always as identity primary key,
  content text not null
);
create view pinned_notes with (security_invoker = true) as
  select id, user_id, body from notes where pinned;

alter table topics enable row level security;
alter table topics force row level security;
alter table notes enable row level security;
alter table notes force row level security;
alter table attachments enable row level security;
alter table attachments force row level security;
alter table secrets enable row level security;
alter table secrets force row level security;

create policy read_published on topics for select to anon, authenticated
  using (state = 'published');
create policy manage_staff on topics for all to authenticated
  using ((select private.is_staff())) with check ((select private.is_staff()));
grant select on topics to anon, authenticated;
grant insert, update, delete on topics to authenticated;

create policy read_own on notes for select to authenticated
  using (user_id = (select auth.uid()));
create policy insert_own on notes for insert to authenticated
  with check (user_id = (select auth.uid()));
create policy update_own on notes for update to authenticated
  using (user_id = (select auth.uid())) with check (user_id = (select auth.uid()));
create policy delete_own on notes for delete to authenticated
  using (user_id = (select auth.uid()));
grant select, delete on notes to authenticated;
grant insert (id, user_id, topic_id, body), update (topic_id, body, pinned)
  on notes to authenticated;

create policy read_own on attachments for select to authenticated using (
  exists (select 1 from notes n where n.id = note_id and n.user_id = (select auth.uid()))
);
create policy insert_own on attachments for insert to authenticated with check (
  exists (select 1 from notes n where n.id = note_id and n.user_id = (select auth.uid()))
);
grant select, insert on attachments to authenticated;
grant select on pinned_notes to authenticated;

-- migrate:down
drop view pinned_notes;
drop table secrets;
drop table attachments;
drop table notes;
drop table topics;
drop domain money_amount;
drop function private.is_staff();
"""

MIGRATIONS: MigrationSet = build_set("notes", [parse_migration("notes", "0001_notes.sql", UP)])

PUBLIC_READ = Access.of(anon="select", owner="select", stranger="select", staff="all")
DATABASE = Database(
    "notes",
    (
        Table("topics", PUBLIC_READ),
        Table(
            "notes",
            Access.of(owner="all"),
            owner="user_id",
            insert_columns=frozenset({"id", "user_id", "topic_id", "body"}),
            update_columns=frozenset({"topic_id", "body", "pinned"}),
        ),
        Table(
            "attachments",
            Access.of(owner="select insert"),
            owner="note_id>notes.user_id",
            key=("note_id", "name"),
        ),
        Table("secrets"),
        Table("pinned_notes", Access.of(owner="select"), owner="user_id"),
    ),
    Path(),
)

SAMPLES = Samples(
    cases={
        "topics": (
            Case("published", {"state": "published"}),
            Case("draft", {"state": "draft"}, access=Access.of(staff="all")),
        ),
        "notes": (Case("pinned", {"pinned": True}),),
    },
    callers={"private.is_staff": frozenset({"anon", "authenticated"})},
)
