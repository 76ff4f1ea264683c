"""What shares sessions through a real PgBouncer never meets there, whatever is lost on the way."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest
from tests.integration.conftest import StartPgbouncer
from tests.integration.engine.connections.test_scope import (
    ADA,
    LEASES,
    LEAVING,
    NOTES,
    leave,
    remains,
)
from tests.integration.engine.drivers.pooled import through, upstream

from bulkhead.engine.connections.claims import ANON, SERVICE, user
from bulkhead.engine.connections.database import OpenDatabase
from bulkhead.engine.drivers.endpoint import Endpoint
from bulkhead.engine.drivers.errors import (
    CommitUnknown,
    ConnectionLost,
    PoolerExhausted,
    ServerUnreachable,
)
from bulkhead.engine.drivers.protocol import Login
from bulkhead.engine.errors import BulkheadError
from bulkhead.engine.ids import derive_id
from bulkhead.engine.settings import Settings
from bulkhead.engine.system import System
from bulkhead.engine.testing import TestServers

DEADLINE_S = 60.0
CROWD = [user(derive_id("test", "pooled", number)) for number in range(10)]
ENDS = ("commit", "read", "error", "late", "cancelled")
LOCK = 4713
FOUND = """
select
  current_user::text as role,
  pg_backend_pid() as session,
  current_setting('request.jwt.claims', true) as claims,
  nullif(current_setting('my.secret', true), '') as secret
"""
PREPARED = "select name from pg_prepared_statements where name <> ''"
SESSION = "select pg_backend_pid()"
STATEMENTS_SINCE = (1, 21)
"""The PgBouncer that knows of prepared statements first."""


@pytest.fixture(scope="module")
async def direct(servers: TestServers) -> AsyncIterator[System]:
    """The application without a pooler."""
    async with servers.system(NOTES, Settings(pool_size=4)) as system:
        yield system


@dataclass
class Crowd:
    """Transactions of twelve identities, of which some fail, run out of time or are cancelled."""

    databases: list[OpenDatabase]
    done: Counter[str] = field(default_factory=Counter)
    sessions: set[int] = field(default_factory=set)

    async def run(self, count: int) -> None:
        for database in self.databases:
            for pool in database.pools.values():
                pool.acquire_timeout_s = DEADLINE_S  # Whose turn it is, is not what is looked at.
        tasks = [asyncio.create_task(self._act(number)) for number in range(count)]
        await asyncio.wait(tasks)
        for task in tasks:
            if task.cancelled():
                self.done["cancelled"] += 1
            elif (error := task.exception()) is not None:
                assert isinstance(error, BulkheadError), error
                self.done[error.code] += 1

    async def _act(self, number: int) -> None:
        claims = [*CROWD, ANON, SERVICE][number % 12]
        end = ENDS[number % len(ENDS)]
        database = self.databases[number % len(self.databases)]
        async with database.transaction(claims, read_only=end == "read") as tx:
            found = await tx.fetchrow(FOUND)
            assert found is not None
            assert (found["role"], found["claims"]) == (claims.role, claims.json)
            assert found["secret"] is None
            self.sessions.add(found["session"])
            await tx.execute(f"select set_config('my.secret', '{number}', false)")
            await tx.execute(f"select pg_advisory_lock_shared({LOCK})")
            if end == "late":
                await tx.execute("set statement_timeout = '5ms'")
            if end == "cancelled":
                task = asyncio.current_task()
                assert task is not None
                asyncio.get_running_loop().call_later(0.002, task.cancel)
            if end in {"late", "cancelled"}:
                await tx.execute("select pg_sleep(1)")
            await tx.execute("select 1 / $1::int", 0 if end == "error" else 1)
        self.done[end] += 1


@pytest.mark.parametrize("size", [1, 2, 3])
async def test_scopes_never_meet_in_a_session_that_many_share(
    servers: TestServers, direct: System, start_pgbouncer: StartPgbouncer, size: int
) -> None:
    pgbouncer = start_pgbouncer(await upstream(servers), default_pool_size=size)
    settings = Settings(pool_size=4)
    async with (
        through(pgbouncer, direct, settings) as first,
        through(pgbouncer, direct, settings) as second,
        through(pgbouncer, direct, settings) as third,
    ):
        crowd = Crowd([each.database("notes") for each in (first, second, third)])
        await crowd.run(150)
    assert crowd.done == {
        "commit": 30, "read": 30, "value_invalid": 30, "statement_timeout": 30, "cancelled": 30
    }  # fmt: skip
    assert len(crowd.sessions) < 150
    async with asyncio.timeout(DEADLINE_S):  # What was cancelled sleeps for a second.
        while await count_locks(direct.database("notes")):  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def count_locks(database: OpenDatabase) -> int:
    """Locks that somebody holds still."""
    async with database.transaction(SERVICE) as tx:
        count: int = await tx.fetchval(
            f"select count(*) from pg_locks where locktype = 'advisory' and objid = {LOCK}"
        )
    return count


@pytest.mark.parametrize("what", LEAVING)
async def test_nothing_that_one_leaves_behind_is_there_for_another_process(
    servers: TestServers, direct: System, start_pgbouncer: StartPgbouncer, what: str
) -> None:
    pgbouncer = start_pgbouncer(await upstream(servers), default_pool_size=1)
    async with through(pgbouncer, direct) as one, through(pgbouncer, direct) as other:
        ours, theirs = one.database("notes"), other.database("notes")
        fresh = {name: await remains(theirs, claims) for name, claims in LEASES.items()}
        for end in ("commit", "error", "cancel"):
            left = asyncio.create_task(leave(ours, ADA, LEAVING[what], end))
            await asyncio.wait([left])
            for name, claims in LEASES.items():
                assert await remains(theirs, claims) == fresh[name], f"{name} after {end}"


async def test_a_read_does_not_keep_its_session_from_others(
    servers: TestServers, direct: System, start_pgbouncer: StartPgbouncer
) -> None:
    pgbouncer = start_pgbouncer(await upstream(servers), default_pool_size=1)
    async with through(pgbouncer, direct) as one, through(pgbouncer, direct) as other:
        ours, theirs = one.database("notes"), other.database("notes")
        for _ in range(20):
            async with ours.transaction(ADA, read_only=True) as tx:
                session = await tx.fetchval(SESSION)
            async with theirs.transaction(ADA, read_only=True) as tx:
                assert await tx.fetchval(SESSION) == session


async def ask_many(databases: list[OpenDatabase]) -> set[str]:
    """Many clients ask different things in turn; the names of what is prepared in their sessions.

    Statements of the same length and place in a row are what names of one process would hide.
    """
    names: set[str] = set()

    async def ask(number: int) -> None:
        async with databases[number % len(databases)].transaction(ADA) as tx:
            assert (
                await tx.fetchval(f"select $1::int + {number % 7}", number) == number + number % 7
            )
            many = [(f"note {number} {each}",) for each in range(3)]
            await tx.executemany("insert into notes (body) values ($1)", many)
            names.update(row["name"] for row in await tx.fetch(PREPARED))

    async with asyncio.TaskGroup() as group:
        for number in range(60):
            group.create_task(ask(number))
    return names


async def test_nothing_is_prepared_in_sessions_that_others_use(
    servers: TestServers, direct: System, start_pgbouncer: StartPgbouncer
) -> None:
    pgbouncer = start_pgbouncer(await upstream(servers), default_pool_size=2)
    if pgbouncer.version >= STATEMENTS_SINCE:
        pgbouncer.restart(max_prepared_statements=0)
    async with through(pgbouncer, direct) as one, through(pgbouncer, direct) as other:
        databases = [one.database("notes"), other.database("notes")]
        assert await ask_many(databases) == set()
        async with databases[0].transaction(ADA) as tx:  # A cursor has a statement with a name.
            rows = [row async for row in tx.cursor("select generate_series(1, $1::int)", 5)]
            assert len(rows) == 5
        assert await ask_many(databases) == set()


async def test_statements_are_prepared_where_the_pooler_keeps_them_apart(
    servers: TestServers, direct: System, start_pgbouncer: StartPgbouncer
) -> None:
    pgbouncer = start_pgbouncer(await upstream(servers), default_pool_size=2)
    if pgbouncer.version < STATEMENTS_SINCE:
        pytest.skip("this PgBouncer does not know of prepared statements")
    pgbouncer.restart(max_prepared_statements=100)
    async with through(pgbouncer, direct) as one, through(pgbouncer, direct) as other:
        databases = [one.database("notes"), other.database("notes")]
        names = await ask_many(databases)
        assert names
        assert all(name.startswith("PGBOUNCER_") for name in names)
        # It is configured anew: from the next connection on nothing is prepared.
        pgbouncer.restart(max_prepared_statements=0)
        for database in databases:
            with contextlib.suppress(ConnectionLost):
                async with database.transaction(ADA):
                    pass
        async with asyncio.timeout(DEADLINE_S):
            while not await is_served(databases):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        assert await ask_many(databases) == set()


async def is_served(databases: list[OpenDatabase]) -> bool:
    try:
        for database in databases:
            async with database.transaction(ADA) as tx:
                await tx.fetchval("select 1")
    except BulkheadError:
        return False
    return True


async def test_a_session_that_ends_fails_its_transaction_only(
    servers: TestServers, direct: System, start_pgbouncer: StartPgbouncer
) -> None:
    pgbouncer = start_pgbouncer(await upstream(servers), default_pool_size=2)
    async with through(pgbouncer, direct) as system:
        notes = system.database("notes")
        admin = await notes.driver.connect(notes.spec, Login.ADMIN, timeout_s=5)
        try:
            with pytest.raises(ConnectionLost):  # noqa: PT012
                async with notes.transaction(ADA) as tx:
                    session = await tx.fetchval(SESSION)
                    await admin.execute("select pg_terminate_backend($1)", session)
                    await tx.fetchval("select 1")
            async with notes.transaction(ADA) as tx:
                assert await tx.fetchval("select 1") == 1
                session = await tx.fetchval(SESSION)
            # One that nobody uses: at the latest the second one is given another.
            await admin.execute("select pg_terminate_backend($1)", session)
            with contextlib.suppress(ConnectionLost):
                async with notes.transaction(ADA):
                    pass
            async with notes.transaction(ADA) as tx:
                assert await tx.fetchval(SESSION) != session
        finally:
            await admin.close()


async def test_a_pooler_that_dies_mid_transaction_undoes_it(
    servers: TestServers, direct: System, start_pgbouncer: StartPgbouncer
) -> None:
    pgbouncer = start_pgbouncer(await upstream(servers))
    async with through(pgbouncer, direct) as system:
        notes = system.database("notes")
        with pytest.raises(ConnectionLost):  # noqa: PT012
            async with notes.transaction(ADA) as tx:
                await tx.execute("insert into notes (body) values ('lost with the pooler')")
                pgbouncer.stop()
                await tx.fetchval("select 1")
        pgbouncer.start()
        with pytest.raises(CommitUnknown):  # noqa: PT012
            async with notes.transaction(ADA) as tx:
                await tx.execute("insert into notes (body) values ('lost with the pooler')")
                pgbouncer.stop()
        with pytest.raises(ServerUnreachable):
            async with notes.transaction(ADA):
                pass
        pgbouncer.start()
        async with direct.database("notes").transaction(SERVICE) as tx:
            left = "select count(*) from notes where body = 'lost with the pooler'"
            assert await tx.fetchval(left) == 0


async def test_after_a_restart_of_the_pooler_the_next_one_is_served(
    servers: TestServers, direct: System, start_pgbouncer: StartPgbouncer
) -> None:
    pgbouncer = start_pgbouncer(await upstream(servers))
    async with through(pgbouncer, direct) as system:
        notes = system.database("notes")
        for _ in range(3):
            async with notes.transaction(ADA) as tx:
                await tx.fetchval("select 1")
            pgbouncer.restart()
            await asyncio.sleep(0)
            served = 0
            for _ in range(3):  # The client may learn of it only when it sends.
                try:
                    async with notes.transaction(ADA) as tx:
                        served += await tx.fetchval("select 1")
                except ConnectionLost:
                    continue
            assert served >= 2


async def test_a_full_pool_has_a_code_of_its_own(
    servers: TestServers, direct: System, start_pgbouncer: StartPgbouncer
) -> None:
    pgbouncer = start_pgbouncer(await upstream(servers), default_pool_size=1, query_wait_timeout=1)
    async with through(pgbouncer, direct) as one, through(pgbouncer, direct) as other:
        async with one.database("notes").transaction(ADA) as tx:
            await tx.fetchval("select 1")
            with pytest.raises(PoolerExhausted) as caught:
                async with other.database("notes").transaction(ADA):
                    pass
            assert caught.value.status == 503
            assert caught.value.retry_after_s
        async with other.database("notes").transaction(ADA) as tx:
            assert await tx.fetchval("select 1") == 1


async def test_a_server_that_is_away_behind_its_pooler_opens_the_breaker_and_comes_back(
    servers: TestServers, direct: System, start_pgbouncer: StartPgbouncer
) -> None:
    there = await upstream(servers)
    pgbouncer = start_pgbouncer(there, query_wait_timeout=1, server_login_retry=1)
    async with through(pgbouncer, direct) as system:
        notes = system.database("notes")
        pgbouncer.upstream = Endpoint(there.host, 1, there.user, there.password)
        pgbouncer.restart()
        codes = []
        for _ in range(4):
            try:
                async with notes.transaction(ADA):
                    pass
            except BulkheadError as error:
                codes.append(error.code)
        assert codes == ["server_unreachable"] * 3 + ["database_unavailable"]
        pgbouncer.upstream = there
        pgbouncer.restart()
        async with asyncio.timeout(10):
            while True:
                try:
                    async with notes.transaction(ADA) as tx:
                        assert await tx.fetchval("select 1") == 1
                    break
                except BulkheadError:
                    await asyncio.sleep(0.05)
