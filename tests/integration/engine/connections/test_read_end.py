"""The end of a transaction that only reads travels with the next beginning, or follows soon."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bulkhead.engine.application import Application
from bulkhead.engine.connections.admin import administer
from bulkhead.engine.connections.claims import ANON, Claims, user
from bulkhead.engine.connections.database import OpenDatabase
from bulkhead.engine.connections.transaction import RELEASE_LOCKS
from bulkhead.engine.errors import BulkheadError
from bulkhead.engine.ids import derive_id
from bulkhead.engine.settings import Settings
from bulkhead.engine.testing import TestServers
from bulkhead.engine.topology import Database, Table, Topology

HERE = Path(__file__).parent
NOTES = Application(
    "notes", "Notes", Topology("notes", (Database("notes", (Table("notes"),), HERE / "notes"),))
)
ADA, BOB = (user(derive_id("test", name)) for name in ("ada", "bob"))
OPEN_TRANSACTIONS = """
select count(*)
from pg_stat_activity
where datname = current_database() and state = 'idle in transaction'
"""
ADVISORY_LOCKS = """
select count(*)
from pg_locks
where locktype = 'advisory'
  and database = (select oid from pg_database where datname = current_database())
"""
SERIALIZABLE = "set transaction isolation level serializable;"


@pytest.fixture(scope="module")
async def notes(servers: TestServers) -> AsyncIterator[OpenDatabase]:
    """One connection for each role."""
    async with servers.system(NOTES, Settings(pool_size=1)) as system:
        yield system.database("notes")


async def read(database: OpenDatabase, claims: Claims, sql: str, first: str = "") -> str | None:
    async with database.transaction(claims, read_only=True, first=first) as tx:
        found: str | None = await tx.fetchval(sql)
    return found


async def test_a_read_that_nothing_follows_is_ended_soon(notes: OpenDatabase) -> None:
    await read(notes, ADA, "select 1")
    async with administer(notes) as connection, asyncio.timeout(5.0):
        while await connection.fetchval(OPEN_TRANSACTIONS):
            pass
    assert notes.clients.stats.in_use == 0
    assert await read(notes, ADA, "select 'still there'") == "still there"


async def test_a_pool_that_settles_has_ended_every_read(notes: OpenDatabase) -> None:
    async with administer(notes) as connection:
        await read(notes, ADA, "select 1")
        await notes.clients.settle()
        assert await connection.fetchval(OPEN_TRANSACTIONS) == 0
    await notes.clients.settle()
    assert await read(notes, ADA, "select 'still there'") == "still there"


async def test_a_read_that_set_a_time_out_has_ended_before_anybody_else_begins(
    notes: OpenDatabase,
) -> None:
    async with administer(notes) as connection:
        for setting in ("set statement_timeout = '5s'", "set local statement_timeout = '5s'"):
            async with notes.transaction(ADA, read_only=True) as tx:
                await tx.execute(setting)
            assert await connection.fetchval(OPEN_TRANSACTIONS) == 0
    assert await read(notes, ADA, "show statement_timeout") == "8s"


async def test_reads_in_a_row_have_transactions_of_their_own(notes: OpenDatabase) -> None:
    began = {await read(notes, ADA, "select now()::text") for _ in range(5)}
    assert len(began) == 5


async def test_an_isolation_level_is_chosen_after_another_read(notes: OpenDatabase) -> None:
    level = "select current_setting('transaction_isolation')"
    assert await read(notes, ADA, level) == "read committed"
    assert await read(notes, ADA, level, SERIALIZABLE) == "serializable"
    assert await read(notes, ADA, level) == "read committed"


async def test_a_write_follows_a_read(notes: OpenDatabase) -> None:
    await read(notes, ADA, "select 1")
    async with notes.transaction(ADA) as tx:
        await tx.execute("insert into notes (body) values ('after a read')")
    assert await read(notes, ADA, "select body from notes") == "after a read"
    assert await read(notes, BOB, "select body from notes") is None


async def test_a_read_after_one_that_failed_finds_a_connection(notes: OpenDatabase) -> None:
    for sql in ("select 1 / 0", "insert into notes (body) values ('never')"):
        await read(notes, ADA, "select 1")
        with pytest.raises(BulkheadError):
            await read(notes, ADA, sql)
        assert await read(notes, ANON, "select current_user::text") == "anon"
        assert await read(notes, ADA, "select current_user::text") == "authenticated"


async def count_locks(database: OpenDatabase) -> int:
    async with administer(database) as connection:
        count: int = await connection.fetchval(ADVISORY_LOCKS)
    return count


async def test_locks_that_a_statement_releases_itself_are_released(notes: OpenDatabase) -> None:
    locking = "select pg_advisory_lock(4713)::text"
    async with notes.transaction(ADA, read_only=True) as tx:
        await tx.fetchval(f"select {RELEASE_LOCKS}::text from ({locking} offset 0) as locked")
        tx.note_released()
    assert await read(notes, ADA, "select 1::text") == "1"
    assert await count_locks(notes) == 0


async def test_locks_taken_after_a_release_was_noted_are_released(notes: OpenDatabase) -> None:
    async with notes.transaction(ADA, read_only=True) as tx:
        await tx.fetchval(f"select {RELEASE_LOCKS}::text")
        tx.note_released()
        await tx.fetchval("select pg_advisory_lock(4714)::text")
    assert await read(notes, ADA, "select 1::text") == "1"
    assert await count_locks(notes) == 0


async def test_a_connection_lost_with_its_end_unsent_is_replaced(notes: OpenDatabase) -> None:
    pid = await read(notes, ADA, "select pg_backend_pid()")
    async with administer(notes) as connection, asyncio.timeout(5.0):
        await connection.execute("select pg_terminate_backend($1, 5000)", pid)
        while notes.clients.size:
            try:
                await read(notes, ADA, "select 1")
                break
            except BulkheadError:
                continue
    assert await read(notes, ADA, "select pg_backend_pid()") != pid
