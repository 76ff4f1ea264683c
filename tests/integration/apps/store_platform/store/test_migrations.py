"""The history of a store's schema ends in what is declared, in both dialects."""

from pathlib import Path

from tests.integration.engine.extract.subject import Subject

from bulkhead.apps.store_platform import store
from bulkhead.apps.store_platform.store.schema import METADATA
from bulkhead.engine.drivers.protocol import Dialect
from bulkhead.engine.extract.extract import extract
from bulkhead.engine.extract.introspect import introspect
from bulkhead.engine.migrations.files import MigrationSet, load_migrations

MIGRATIONS = Path(*store.__path__) / "migrations"


def migrations(dialect: Dialect) -> MigrationSet:
    return load_migrations("store", MIGRATIONS / dialect.value)


async def test_all_migrations_make_what_is_declared(subject: Subject) -> None:
    await subject.empty()
    for migration in migrations(subject.dialect).migrations:
        await subject.run([statement.text for statement in migration.up_statements])
    extracted = extract(METADATA, subject.dialect, subject.options)
    found = await subject.compare(extracted)
    assert found.is_equal, (found.missing, [str(each) for each in found.differing])
    assert found.extra == ()
    assert (await introspect(subject.connection)).fingerprint == extracted.fingerprint


async def test_all_migrations_can_be_taken_back(subject: Subject) -> None:
    await subject.empty()
    history = migrations(subject.dialect).migrations
    for migration in history:
        await subject.run([statement.text for statement in migration.up_statements])
    for migration in reversed(history):
        await subject.run([statement.text for statement in migration.down_statements])
    assert (await introspect(subject.connection)).objects == {}


def test_both_dialects_have_the_same_history() -> None:
    histories = [migrations(dialect).migrations for dialect in Dialect]
    assert [each.label for each in histories[0]] == [each.label for each in histories[1]]
