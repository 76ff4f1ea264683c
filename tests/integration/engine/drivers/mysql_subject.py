"""The driver of MySQL under test, seen from both sides."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from tests.integration.engine.drivers.subject import fresh_name

from bulkhead.engine.drivers.endpoint import Session
from bulkhead.engine.drivers.mysql import MysqlDriver
from bulkhead.engine.drivers.mysql_connection import MysqlConnection, open_connection
from bulkhead.engine.drivers.mysql_endpoint import parse_mysql_dsn
from bulkhead.engine.drivers.mysql_sql import quote_name
from bulkhead.engine.drivers.mysql_wire import Target
from bulkhead.engine.drivers.protocol import DatabaseSpec, Driver, Login

TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class MysqlSubject:
    """A driver whose DSN's user is `root`, who is also the one to look behind it."""

    driver: MysqlDriver
    encrypted: bool = False

    @asynccontextmanager
    async def look(self, database: str = "") -> AsyncIterator[MysqlConnection]:
        """A connection of root."""
        endpoint = self.driver.endpoint
        connection = await open_connection(
            Target.of(endpoint),
            Session(endpoint.user, endpoint.password, database),
            timeout_s=TIMEOUT_S,
            is_bounded=False,
        )
        try:
            yield connection
        finally:
            connection.terminate()

    @asynccontextmanager
    async def database(self, spec: DatabaseSpec | None = None) -> AsyncIterator[DatabaseSpec]:
        """A database of its own for a test, dropped after it."""
        spec = spec or DatabaseSpec(fresh_name())
        await self.driver.ensure_database(spec)
        try:
            yield spec
        finally:
            await self.driver.drop_database(spec)

    @asynccontextmanager
    async def opened(self, spec: DatabaseSpec, login: Login) -> AsyncIterator[MysqlConnection]:
        """A connection that the driver opened."""
        connection = await self.driver.connect(spec, login, timeout_s=TIMEOUT_S)
        try:
            yield connection
        finally:
            await connection.close()

    async def run(self, sql: str, *args: object, database: str = "") -> Sequence[Mapping[str, Any]]:
        """Run a statement as root."""
        async with self.look(database) as root:
            return await root.fetch(sql, args, timeout_s=TIMEOUT_S)

    async def where(self, connection: MysqlConnection) -> tuple[str, str]:
        """Database and login of a connection."""
        rows = await connection.fetch(
            "select database() as name, current_user() as login", (), timeout_s=TIMEOUT_S
        )
        return rows[0]["name"], str(rows[0]["login"]).partition("@")[0]

    async def leave_half_made(self, spec: DatabaseSpec) -> None:
        """Put the database into the state of one whose making was broken off."""
        await self.run(f"drop database {spec.name}")
        await self.run(f"create database {spec.name}")

    @asynccontextmanager
    async def foreign_database(self, name: str) -> AsyncIterator[None]:
        """A database that somebody else made, which must be as it was afterwards."""
        await self.run(f"create database {quote_name(name)}")
        yield
        assert (
            await self.run(
                "select 1 as one from information_schema.tables where table_schema = %s", name
            )
            == []
        )
        assert await self.run("select user from mysql.db where db = %s", name) == []
        await self.run(f"drop database {quote_name(name)}")

    @asynccontextmanager
    async def foreign_login(self, spec: DatabaseSpec, login: Login) -> AsyncIterator[None]:
        """A login that somebody else made, which must be as it was afterwards."""
        await self.run(f"create user {spec.login(login)}@'%%' identified by 'theirs'")
        yield
        grants = await self.run(f"show grants for {spec.login(login)}@'%%'")
        assert len(grants) == 1
        await self.run(f"drop user {spec.login(login)}@'%%'")

    async def limit_connections(self, spec: DatabaseSpec, login: Login, limit: int) -> None:
        """Let the server allow a login no more than `limit` connections."""
        await self.run(f"alter user {spec.login(login)}@'%%' with max_user_connections {limit}")

    def with_secret(self, secret: bytes) -> Driver:
        """Another installation's driver of the same server."""
        return MysqlDriver(self.driver.endpoint, secret)

    async def dial(self, url: str) -> MysqlConnection:
        """Connect as other programs do."""
        endpoint = parse_mysql_dsn(url)
        session = Session(endpoint.user, endpoint.password, endpoint.database)
        return await open_connection(Target.of(endpoint), session, timeout_s=TIMEOUT_S)

    async def stored_password(self, spec: DatabaseSpec, login: Login) -> str:
        """What the server keeps of a password."""
        rows = await self.run(
            "select authentication_string as stored from mysql.user where user = %s",
            spec.login(login),
        )
        return str(rows[0]["stored"])

    async def catalogue(self, spec: DatabaseSpec) -> list[Any]:
        """Everything that ensure_database makes outside of the database, and the database."""
        like = spec.name + r"\_%"
        found = [
            await self.run(sql, value)
            for sql, value in (
                ("select user, authentication_string from mysql.user where user like %s", like),
                ("select * from mysql.db where user like %s order by user", like),
                ("select * from information_schema.schemata where schema_name = %s", spec.name),
            )
        ]
        return [row for rows in found for row in rows]
