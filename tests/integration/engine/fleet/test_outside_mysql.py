"""MySQL databases that their owners run: reached through the guard, adopted when empty or ours."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

import pytest
from mariadb_server import MariadbServer
from tests.integration.engine.drivers.mysql_subject import MysqlSubject
from tests.integration.engine.drivers.rogue_mysql import Talk, greeting, rogue_mysql, switch
from tests.integration.engine.drivers.subject import fresh_name

from bulkhead.engine.drivers.endpoint import Endpoint, Tls
from bulkhead.engine.drivers.errors import (
    CapabilityMissing,
    DatabaseForeign,
    DatabaseMissing,
    LoginRefused,
    TlsRequired,
)
from bulkhead.engine.drivers.foreign_frames import ServerUntrusted
from bulkhead.engine.drivers.mysql import MysqlDriver
from bulkhead.engine.drivers.mysql_sql import quote_text
from bulkhead.engine.drivers.secret import Secret
from bulkhead.engine.egress import Egress, HostRefused, open_egress
from bulkhead.engine.egress.guard import HostUnreachable
from bulkhead.engine.fleet.model import ConnectionConfig, SecretText, ServerKind
from bulkhead.engine.fleet.mysql import OutsideMysql, manage_mysql, outside_mysql
from bulkhead.engine.settings import Settings

TIMEOUT_S = 10.0
MARK = "bulkhead 0123456789abcdef tenant"
OTHER_MARK = "bulkhead fedcba9876543210 tenant"
PASSWORD = "a customer's password"  # noqa: S105
HERE = open_egress(Settings())


@dataclass(frozen=True, slots=True)
class Customer:
    """Somebody with a database on a server of their own."""

    server: MysqlSubject
    config: ConnectionConfig

    @property
    def database(self) -> OutsideMysql:
        return OutsideMysql(self.config, HERE)

    def configured(self, **changed: object) -> OutsideMysql:
        return OutsideMysql(replace(self.config, **changed), HERE)  # type: ignore[arg-type]

    async def tables(self) -> list[str]:
        rows = await self.server.run("show tables", database=self.config.database)
        return sorted(name for row in rows for name in row.values())


@pytest.fixture
async def customer(mariadb: MariadbServer) -> AsyncIterator[Customer]:
    endpoint = Endpoint("127.0.0.1", mariadb.port, "root", mariadb.password, "")
    server = MysqlSubject(MysqlDriver(endpoint, secrets.token_bytes(32)))
    name = fresh_name()
    await server.run(f"create database {name}")
    await server.run(f"create user {name}@'%%' identified by {quote_text(PASSWORD)}")
    await server.run(f"grant all privileges on {name}.* to {name}@'%%'")
    assert mariadb.ca_file is not None
    config = ConnectionConfig(
        ServerKind.MYSQL,
        "localhost",
        mariadb.port,
        name,
        name,
        SecretText(PASSWORD),
        ca_pem=mariadb.ca_file.read_text(),
    )
    yield Customer(server, config)
    await server.run(f"drop user {name}@'%%'")
    await server.run(f"drop database if exists {name}")


async def test_a_connection_is_verified_for_the_name_and_goes_to_the_checked_address(
    customer: Customer,
) -> None:
    database = outside_mysql(HERE)(customer.config)
    connection = await database.connect(timeout_s=TIMEOUT_S)
    rows = await connection.fetch("show session status like 'Ssl_cipher'", (), timeout_s=TIMEOUT_S)
    assert rows[0]["Value"]
    connection.terminate()
    assert database.server == f"localhost:{customer.config.port}"
    with pytest.raises(TlsRequired, match="certificate"):
        await customer.configured(ca_pem=None).connect(timeout_s=TIMEOUT_S)
    with pytest.raises(TlsRequired, match="not valid for '127"):
        await customer.configured(host="127.0.0.1").connect(timeout_s=TIMEOUT_S)
    with pytest.raises(TlsRequired, match="no certificates"):
        await customer.configured(ca_pem="nonsense").connect(timeout_s=TIMEOUT_S)


async def test_hosts_inside_are_refused_where_they_are_not_allowed(customer: Customer) -> None:
    with pytest.raises(HostRefused):
        await OutsideMysql(customer.config, Egress()).connect(timeout_s=TIMEOUT_S)


async def test_a_public_host_is_never_spoken_to_without_verified_tls(customer: Customer) -> None:
    async def resolve(_host: str, _port: int) -> list[str]:
        return ["1.1.1.1"]

    egress = Egress(resolve=resolve, ports=frozenset({customer.config.port}))
    for tls in (Tls.DISABLE, Tls.REQUIRE):
        config = replace(customer.config, host="db.example.com", tls=tls)
        with pytest.raises(TlsRequired, match="public network"):
            await OutsideMysql(config, egress).connect(timeout_s=TIMEOUT_S)


async def test_what_is_wrong_is_said(customer: Customer) -> None:
    with pytest.raises(LoginRefused):
        await customer.configured(password=SecretText("wrong")).connect(timeout_s=TIMEOUT_S)
    with pytest.raises((DatabaseMissing, LoginRefused)):
        await customer.configured(database="nothing").connect(timeout_s=TIMEOUT_S)
    with pytest.raises(HostUnreachable):
        await customer.configured(host="127.0.0.1", port=1).connect(timeout_s=TIMEOUT_S)


async def test_an_empty_database_is_adopted_and_released(customer: Customer) -> None:
    for _ in range(2):
        await customer.database.adopt(MARK, timeout_s=TIMEOUT_S)
        assert await customer.tables() == ["_bulkhead"]
    await customer.server.run("create table mine (id integer)", database=customer.config.database)
    await customer.database.adopt(MARK, timeout_s=TIMEOUT_S)
    await customer.database.release(OTHER_MARK, timeout_s=TIMEOUT_S)
    assert await customer.tables() == ["_bulkhead", "mine"]
    for _ in range(2):
        await customer.database.release(MARK, timeout_s=TIMEOUT_S)
        assert await customer.tables() == ["mine"]


async def test_a_database_that_has_tables_or_another_mark_is_left_alone(customer: Customer) -> None:
    await customer.server.run("create table theirs (id integer)", database=customer.config.database)
    with pytest.raises(DatabaseForeign, match="tables already"):
        await customer.database.adopt(MARK, timeout_s=TIMEOUT_S)
    assert await customer.tables() == ["theirs"]
    await customer.server.run("drop table theirs", database=customer.config.database)
    await customer.database.adopt(OTHER_MARK, timeout_s=TIMEOUT_S)
    with pytest.raises(DatabaseForeign, match="somebody has adopted"):
        await customer.database.adopt(MARK, timeout_s=TIMEOUT_S)


async def test_of_many_at_once_only_one_adopts(customer: Customer) -> None:
    marks = [f"bulkhead {number}" for number in range(6)]
    adopted: list[str] = []

    async def adopt(mark: str) -> None:
        try:
            await customer.database.adopt(mark, timeout_s=TIMEOUT_S)
        except DatabaseForeign:
            return
        adopted.append(mark)

    async with asyncio.TaskGroup() as group:
        for mark in marks:
            group.create_task(adopt(mark))
    assert len(adopted) == 1
    assert await customer.tables() == ["_bulkhead"]


@pytest.mark.parametrize(
    "lacking", ["create", "alter", "drop", "index", "insert", "update", "delete"]
)
async def test_every_right_that_lacks_is_noticed_and_nothing_stays(
    customer: Customer, lacking: str
) -> None:
    name = customer.config.database
    await customer.server.run(f"revoke {lacking} on {name}.* from {name}@'%%'")
    with pytest.raises(CapabilityMissing) as caught:
        await customer.database.adopt(MARK, timeout_s=TIMEOUT_S)
    assert lacking.upper() in caught.value.advice
    left = await customer.tables()
    # What may not be dropped stays, empty, and is dropped by the next attempt that may.
    assert len(left) == (1 if lacking == "drop" else 0)
    await customer.server.run(f"grant {lacking} on {name}.* to {name}@'%%'")
    await customer.database.adopt(MARK, timeout_s=TIMEOUT_S)
    assert await customer.tables() == ["_bulkhead"]


async def test_a_rogue_at_the_name_of_a_customer_gets_no_password() -> None:
    async def behave(talk: Talk) -> None:
        await talk.say(greeting())
        await talk.hear()
        await talk.say(switch(b"mysql_clear_password", b""))

    async with rogue_mysql(behave) as rogue:
        config = ConnectionConfig(
            ServerKind.MYSQL,
            "127.0.0.1",
            rogue.port,
            "shop",
            "app",
            SecretText(PASSWORD),
            tls=Tls.DISABLE,
        )
        with pytest.raises(ServerUntrusted):
            await OutsideMysql(config, HERE).connect(timeout_s=TIMEOUT_S)
        assert PASSWORD.encode() not in rogue.heard


async def test_a_server_of_the_fleet_is_managed_with_the_authority_it_names(
    customer: Customer, mariadb: MariadbServer
) -> None:
    config = replace(
        customer.config, username="root", password=SecretText(mariadb.password), database="mysql"
    )
    driver = manage_mysql(config, Secret(secrets.token_bytes(32)))
    await driver.start()
    with pytest.raises(TlsRequired):
        await manage_mysql(replace(config, ca_pem=None), Secret(b"x" * 32)).start()
