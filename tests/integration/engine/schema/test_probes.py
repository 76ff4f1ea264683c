import pytest
from tests.integration.engine.empty_database import EmptyDatabase
from tests.integration.engine.schema.guarded import DATABASE, MIGRATIONS

from bulkhead.engine.migrations.apply import apply
from bulkhead.engine.schema.introspect import introspect
from bulkhead.engine.schema.probes.run import probe_database
from bulkhead.engine.schema.probes.samples import Case, Samples
from bulkhead.engine.topology import Access

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


@pytest.fixture
async def guarded(empty: EmptyDatabase) -> EmptyDatabase:
    await apply(empty.connection, empty.spec, [MIGRATIONS])
    return empty


async def test_a_guarded_database_neither_leaks_nor_over_denies(guarded: EmptyDatabase) -> None:
    report = await probe_database(guarded.connection, DATABASE, SAMPLES)
    assert [str(result) for result in report.failures] == []
    assert len(report.results) > 500


async def test_nothing_remains_of_the_probes(guarded: EmptyDatabase) -> None:
    before = await introspect(guarded.connection)
    await probe_database(guarded.connection, DATABASE, SAMPLES)
    assert await introspect(guarded.connection) == before
    for table in ("topics", "notes", "attachments", "secrets"):
        assert await guarded.connection.fetchval(f"select count(*) from {table}") == 0
    assert await guarded.connection.fetchval("select current_user") == "postgres"
