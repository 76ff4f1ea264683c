from dataclasses import replace

import pytest
from tests.integration.engine.empty_database import EmptyDatabase
from tests.integration.engine.schema.guarded import DATABASE, SAMPLES

from bulkhead.engine.schema.introspect import introspect
from bulkhead.engine.schema.probes.rows import SampleImpossible
from bulkhead.engine.schema.probes.run import probe_database
from bulkhead.engine.schema.probes.samples import Samples
from bulkhead.engine.topology import Table

GRANT_UPDATE = "grant update on notes to authenticated"
OWN = "user_id = (select auth.uid())"
STAFF_BY_USER_METADATA = """
    create or replace function private.is_staff() returns boolean language sql stable
      set search_path = ''
    as $$ select coalesce(auth.jwt() -> 'user_metadata' ->> 'role' = 'admin', false) $$"""

# Each is a hole that was found in policies that people wrote, and what the probes say of it.
HOLES = [
    ("alter table notes disable row level security", "stranger: select public.notes"),
    ("alter policy read_own on notes using (true)", "stranger: select public.notes"),
    (
        f"create policy hole on notes for all to authenticated using ({OWN} or pinned)",
        "stranger: delete public.notes",
    ),
    (
        f"create policy hole on notes for all to authenticated using ({OWN} or pinned)",
        "stranger: update column public.notes (body)",
    ),
    (
        "alter policy update_own on notes with check (true);" + GRANT_UPDATE,
        "owner: update owner public.notes (user_id)",
    ),
    (
        "alter policy insert_own on notes with check (true)",
        "stranger: insert as other public.notes",
    ),
    (GRANT_UPDATE, "owner: update column public.notes (price)"),
    ("grant insert on notes to authenticated", "owner: insert column public.notes (price)"),
    ("grant truncate on notes to authenticated", "stranger: truncate public.notes"),
    (
        "alter policy insert_own on attachments with check (true)",
        "stranger: insert as other public.attachments",
    ),
    ("alter policy read_published on topics using (true)", "anon: select public.topics [draft]"),
    (
        """alter view pinned_notes set (security_invoker = false);
        alter table notes no force row level security""",
        "stranger: select public.pinned_notes",
    ),
    (STAFF_BY_USER_METADATA, "staff by user_metadata: delete public.topics"),
    (
        f"alter policy read_own on notes to anon using ({OWN}); grant select on notes to anon",
        "anon with the owner's claims: select public.notes",
    ),
    (
        """create function peek() returns text language sql security definer as 'select null::text';
        grant execute on function peek() to anon""",
        "anon: call public.peek()",
    ),
    (
        "create table forgotten (id integer); grant select on forgotten to anon",
        "anon: select public.forgotten",
    ),
    ("grant create on schema public to anon", "anon: create public"),
    (
        "create sequence numbers; grant usage on sequence numbers to authenticated",
        "owner: use public.numbers",
    ),
]
OVER_DENIALS = [
    ("drop policy read_own on notes", "owner: select public.notes"),
    ("revoke delete on notes from authenticated", "owner: delete public.notes"),
    (
        "revoke update (body) on notes from authenticated",
        "owner: update column public.notes (body)",
    ),
    ("drop policy manage_staff on topics", "staff: select public.topics [draft]"),
    ("revoke delete on secrets from service_role", "service: delete public.secrets"),
    ("revoke execute on function private.is_staff() from anon", "anon: call private.is_staff()"),
]


async def test_a_guarded_database_neither_leaks_nor_over_denies(guarded: EmptyDatabase) -> None:
    report = await probe_database(guarded.connection, DATABASE, SAMPLES)
    assert [str(result) for result in report.failures] == []
    assert len(report.results) > 600


@pytest.mark.parametrize("kind", ["leak", "over-denial"])
async def test_every_hole_and_every_lost_right_is_found(guarded: EmptyDatabase, kind: str) -> None:
    unseen = []
    for statements, expected in HOLES if kind == "leak" else OVER_DENIALS:
        transaction = guarded.connection.transaction()
        await transaction.start()
        await guarded.connection.execute(statements)
        report = await probe_database(guarded.connection, DATABASE, SAMPLES)
        await transaction.rollback()
        found = report.leaks if kind == "leak" else report.over_denials
        if not any(str(result).startswith(f"{kind}: {expected}") for result in found):
            unseen.append((expected, [str(result) for result in report.failures][:5]))
    assert unseen == []


async def test_nothing_remains_of_the_probes(guarded: EmptyDatabase) -> None:
    before = await introspect(guarded.connection)
    await probe_database(guarded.connection, DATABASE, SAMPLES)
    assert await introspect(guarded.connection) == before
    for table in ("topics", "notes", "attachments", "secrets"):
        assert await guarded.connection.fetchval(f"select count(*) from {table}") == 0
    assert await guarded.connection.fetchval("select current_user") == "postgres"


async def test_a_table_that_is_not_declared_must_be_out_of_reach(guarded: EmptyDatabase) -> None:
    tables = tuple(table for table in DATABASE.tables if table.name != "topics")
    report = await probe_database(
        guarded.connection, replace(DATABASE, tables=tables), replace(SAMPLES, cases={})
    )
    assert "leak: anon: select public.topics: 0 rows" in [str(leak) for leak in report.leaks]


async def test_a_declaration_that_promises_too_much_is_an_over_denial(
    guarded: EmptyDatabase,
) -> None:
    secrets = Table("secrets", access=DATABASE.tables[0].access)
    tables = (*[table for table in DATABASE.tables if table.name != "secrets"], secrets)
    report = await probe_database(guarded.connection, replace(DATABASE, tables=tables), SAMPLES)
    assert {result.probe.relation for result in report.failures} == {"public.secrets"}
    assert not report.leaks


async def test_a_row_that_cannot_be_guessed_is_asked_for(guarded: EmptyDatabase) -> None:
    await guarded.connection.execute("alter table notes add check (body ~ '^[0-9]{3}$')")
    with pytest.raises(SampleImpossible, match="notes") as caught:
        await probe_database(guarded.connection, DATABASE, SAMPLES)
    assert "insert into" in caught.value.advice
    told = replace(SAMPLES, values={"notes": {"body": "123"}})
    assert not (await probe_database(guarded.connection, DATABASE, told)).failures


async def test_a_circle_of_required_rows_is_named(guarded: EmptyDatabase) -> None:
    await guarded.connection.execute(
        "alter table topics add column note_id uuid references notes (id);"
        "alter table notes alter column topic_id set not null;"
        "alter table topics alter column note_id set not null"
    )
    with pytest.raises(SampleImpossible, match="in a circle"):
        await probe_database(guarded.connection, DATABASE, Samples())
