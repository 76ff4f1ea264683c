"""What becomes of statements and transactions when MySQL goes away, stops, or runs full.

A driver never repeats anything by itself. What is told apart is whether something was sent: a
connection that is known to be lost before says so, and then nothing happened.
"""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from uuid import UUID

import pytest
from mariadb_server import ABSENT, MariadbServer, find_mariadbd, run_mariadb
from tests.integration.engine.drivers.mysql_subject import TIMEOUT_S, MysqlSubject
from tests.integration.engine.drivers.subject import fresh_name

from bulkhead.engine.drivers.endpoint import Endpoint, Session, Tls
from bulkhead.engine.drivers.errors import (
    CommitUnknown,
    ConnectionLost,
    ServerOverloaded,
    ServerUnreachable,
    StatementTimeout,
    TooManyConnections,
    ValueInvalid,
    is_connection_loss,
)
from bulkhead.engine.drivers.mysql import MysqlDriver
from bulkhead.engine.drivers.mysql_connection import MysqlConnection
from bulkhead.engine.drivers.mysql_wire import Target, open_raw
from bulkhead.engine.drivers.protocol import DatabaseSpec, Login
from bulkhead.engine.fleet.connection import TenantConnection
from bulkhead.engine.fleet.model import TenantId

INSERT = "insert into things (name) values (%s)"
LONG = (
    "select count(*) as `long` from information_schema.collations a, "
    "information_schema.collations b, information_schema.collations c, "
    "information_schema.collations d where a.id + b.id + c.id + d.id < 0"
)
TENANT = TenantId(UUID("01890a5d-ac96-774b-bcce-b302099a8057"))


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[MariadbServer]:
    """A server of these tests' own, which may be stopped."""
    if find_mariadbd() is None:
        pytest.skip(ABSENT)
    with run_mariadb(folder / "outages", None, "--innodb-flush-log-at-trx-commit=1") as server:
        yield server


@pytest.fixture(scope="module")
def alone(server: MariadbServer) -> MysqlSubject:
    endpoint = Endpoint("127.0.0.1", server.port, "root", server.password, "")
    return MysqlSubject(MysqlDriver(endpoint, b"s" * 32))


@pytest.fixture
async def spec(alone: MysqlSubject) -> AsyncIterator[DatabaseSpec]:
    async with alone.database() as spec:
        await alone.run(
            "create table things (id integer auto_increment primary key, name longtext)",
            database=spec.name,
        )
        yield spec


@pytest.fixture
async def service(alone: MysqlSubject, spec: DatabaseSpec) -> AsyncIterator[MysqlConnection]:
    async with alone.opened(spec, Login.SERVICE) as service:
        yield service


async def names(alone: MysqlSubject, spec: DatabaseSpec) -> list[str]:
    rows = await alone.run("select name from things order by id", database=spec.name)
    return [row["name"] for row in rows]


async def closed(connection: MysqlConnection) -> None:
    """Wait until the end of the connection has arrived."""
    async with asyncio.timeout(TIMEOUT_S):
        await connection.raw._proto.wait_closed()


async def test_a_connection_that_was_killed_is_known_as_lost_before_anything_is_sent(
    alone: MysqlSubject, spec: DatabaseSpec, service: MysqlConnection
) -> None:
    await alone.run(f"kill {service.id}")
    await closed(service)
    assert service.is_closed()
    with pytest.raises(ConnectionLost):
        await service.execute(INSERT, ("never",), timeout_s=TIMEOUT_S)
    assert await names(alone, spec) == []


async def test_a_transaction_whose_connection_is_killed_has_no_effect(
    alone: MysqlSubject, spec: DatabaseSpec, service: MysqlConnection
) -> None:
    await service.begin(read_only=False, timeout_s=TIMEOUT_S)
    await service.execute(INSERT, ("never",), timeout_s=TIMEOUT_S)
    await alone.run(f"kill {service.id}")
    for _ in range(2):
        with pytest.raises(ConnectionLost):
            await service.execute(INSERT, ("neither",), timeout_s=TIMEOUT_S)
    with pytest.raises(ConnectionLost):
        await service.commit(timeout_s=TIMEOUT_S)
    assert await names(alone, spec) == []


async def test_a_statement_that_is_killed_alone_leaves_the_connection(
    alone: MysqlSubject, service: MysqlConnection
) -> None:
    async def kill() -> None:
        running = "select 1 as one from information_schema.processlist where id = %s and info like "
        async with asyncio.timeout(TIMEOUT_S):
            while not await alone.run(running + "'%%long%%'", service.id):
                pass
        await alone.run(f"kill query {service.id}")

    async with asyncio.TaskGroup() as group:
        group.create_task(kill())
        with pytest.raises(StatementTimeout) as caught:
            await service.fetch(LONG, (), timeout_s=20)
    assert not is_connection_loss(caught.value)
    assert not service.is_closed()
    assert await service.fetch("select 1 as one", (), timeout_s=TIMEOUT_S) == [{"one": 1}]


async def test_a_connection_that_idled_too_long_for_the_server_is_known_as_lost(
    service: MysqlConnection,
) -> None:
    await service.execute("set session wait_timeout = 1", (), timeout_s=TIMEOUT_S)
    await closed(service)
    assert service.is_closed()


async def test_a_transaction_that_idles_too_long_is_undone(
    alone: MysqlSubject, spec: DatabaseSpec, service: MysqlConnection
) -> None:
    await service.execute("set session idle_transaction_timeout = 1", (), timeout_s=TIMEOUT_S)
    await service.begin(read_only=False, timeout_s=TIMEOUT_S)
    await service.execute(INSERT, ("never",), timeout_s=TIMEOUT_S)
    await closed(service)
    assert await names(alone, spec) == []


@pytest.mark.parametrize("kill", [False, True])
async def test_a_server_that_restarts_loses_connections_and_nothing_committed(
    server: MariadbServer,
    alone: MysqlSubject,
    spec: DatabaseSpec,
    service: MysqlConnection,
    kill: bool,
) -> None:
    await service.execute(INSERT, ("kept",), timeout_s=TIMEOUT_S)
    await service.begin(read_only=False, timeout_s=TIMEOUT_S)
    await service.execute(INSERT, ("undone",), timeout_s=TIMEOUT_S)
    server.stop(kill=kill)
    with pytest.raises(ConnectionLost):
        await service.commit(timeout_s=TIMEOUT_S)
    with pytest.raises(ServerUnreachable, match="refused"):
        await alone.driver.connect(spec, Login.SERVICE, timeout_s=TIMEOUT_S)
    server.start()
    assert await names(alone, spec) == ["kept"]


async def test_a_server_that_hangs_while_it_commits_leaves_the_outcome_open(
    server: MariadbServer, alone: MysqlSubject, spec: DatabaseSpec, service: MysqlConnection
) -> None:
    connection = TenantConnection(service, TENANT, timeout_s=TIMEOUT_S)
    with pytest.raises(CommitUnknown):  # noqa: PT012
        async with connection.transaction():
            await connection.execute(INSERT, ["perhaps"])
            server.pause()
            connection.timeout_s = 0.3
    assert connection.spent
    assert service.is_closed()
    with pytest.raises(ServerUnreachable, match="no answer"):
        await alone.driver.connect(spec, Login.SERVICE, timeout_s=0.3)
    server.resume()
    assert await names(alone, spec) in ([], ["perhaps"])


async def test_a_caller_who_goes_away_takes_the_connection_along(
    alone: MysqlSubject, spec: DatabaseSpec, service: MysqlConnection
) -> None:
    await service.begin(read_only=False, timeout_s=TIMEOUT_S)
    await service.execute(INSERT, ("never",), timeout_s=TIMEOUT_S)
    task = asyncio.create_task(service.fetch("select sleep(%s)", (5,), timeout_s=20))
    await asyncio.wait([task], timeout=0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert service.is_closed()
    assert "never" not in await names(alone, spec)


@pytest.mark.parametrize("is_wired", [False, True])
async def test_who_is_cancelled_while_connecting_is_cancelled(
    server: MariadbServer, *, is_wired: bool
) -> None:
    """At whichever moment; a time-out is a cancellation too, and would not end anything."""
    target = Target("127.0.0.1", server.port, Tls.DISABLE, is_local=True)
    session = Session("root", server.password, "mysql")

    async def stay() -> None:
        wire = socket.create_connection(("127.0.0.1", server.port)) if is_wired else None
        connection = await open_raw(target, session, timeout_s=TIMEOUT_S, wire=wire)
        try:
            await asyncio.Event().wait()
        finally:
            connection.abort()

    for moment in range(150):
        task = asyncio.create_task(stay())
        for _ in range(moment % 15):
            await asyncio.sleep(0)
        await asyncio.sleep(moment // 15 * 2e-4)
        task.cancel()
        done, _ = await asyncio.wait([task], timeout=TIMEOUT_S)
        assert done, moment
        assert task.cancelled()


async def test_what_is_too_large_for_the_server_is_not_sent(
    alone: MysqlSubject, spec: DatabaseSpec, service: MysqlConnection
) -> None:
    limit = 16 * 1024 * 1024
    with pytest.raises(ValueInvalid) as caught:
        await service.execute(INSERT, ("x" * limit,), timeout_s=TIMEOUT_S)
    assert caught.value.details["size_bytes_max"] == limit
    with pytest.raises(ValueInvalid):
        await service.execute_many(INSERT, [("a",), (b"x" * limit,)], timeout_s=TIMEOUT_S)
    assert not service.is_closed()
    await service.execute(INSERT, ("x" * (limit - 8192),), timeout_s=TIMEOUT_S)
    assert [len(name) for name in await names(alone, spec)] == [limit - 8192]


async def test_a_server_that_hangs_up_on_a_large_packet_is_a_lost_connection(
    alone: MysqlSubject, spec: DatabaseSpec, service: MysqlConnection
) -> None:
    service._packet_bytes_max = 2**30
    with pytest.raises((ConnectionLost, ValueInvalid)):
        await service.execute(INSERT, ("x" * (2**24 + 2**20),), timeout_s=TIMEOUT_S)
    assert service.is_closed()
    assert await names(alone, spec) == []


async def test_a_server_without_a_free_connection_says_so(
    alone: MysqlSubject, spec: DatabaseSpec
) -> None:
    await alone.run("set global max_connections = 10")
    opened: list[MysqlConnection] = []
    try:
        with pytest.raises(TooManyConnections):  # noqa: PT012
            # Those that earlier tests have left may still be on their way out.
            while len(opened) < 20:
                opened += [await alone.driver.connect(spec, Login.SERVICE, timeout_s=TIMEOUT_S)]
    finally:
        for connection in opened:
            connection.terminate()
        async with asyncio.timeout(TIMEOUT_S):
            while True:
                try:
                    await alone.run("set global max_connections = 300")
                    break
                except TooManyConnections:
                    continue


async def test_a_full_disk_is_said_and_what_is_there_can_be_read(folder: Path) -> None:
    if find_mariadbd() is None:
        pytest.skip(ABSENT)
    options = (
        "--innodb-file-per-table=0",
        "--innodb-autoextend-increment=1",
        "--innodb-data-file-path=ibdata1:12M:autoextend:max:48M",
    )
    with run_mariadb(folder / "full", None, *options) as server:
        endpoint = Endpoint("127.0.0.1", server.port, "root", server.password, "")
        alone = MysqlSubject(MysqlDriver(endpoint, b"s" * 32))
        spec = DatabaseSpec(fresh_name())
        await alone.driver.ensure_database(spec)
        await alone.run("create table things (name longtext)", database=spec.name)
        async with alone.opened(spec, Login.SERVICE) as service:
            with pytest.raises(ServerOverloaded, match="disk space"):  # noqa: PT012
                for _ in range(80):
                    await service.execute(INSERT, ("x" * 2**20,), timeout_s=TIMEOUT_S)
            assert not service.is_closed()
            sql = "select count(*) as n from things"
            assert (await service.fetch(sql, (), timeout_s=TIMEOUT_S))[0]["n"] > 2
