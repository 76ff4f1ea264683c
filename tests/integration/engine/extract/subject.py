"""A database of either dialect that a test may fill and empty as it likes."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count

from mariadb_server import MariadbServer

from bulkhead.engine.connections.sql import identifier
from bulkhead.engine.drivers import mysql_connection
from bulkhead.engine.drivers.endpoint import Endpoint, Session, Tls, open_connection
from bulkhead.engine.drivers.mysql_wire import Target
from bulkhead.engine.drivers.postgres_connection import PostgresConnection
from bulkhead.engine.drivers.protocol import DatabaseSpec, Dialect, Login, ServerConnection
from bulkhead.engine.extract.compare import Difference, compare
from bulkhead.engine.extract.extract import ExtractOptions
from bulkhead.engine.extract.introspect import introspect
from bulkhead.engine.extract.model import Extracted
from bulkhead.engine.extract.names import sendable
from bulkhead.engine.testing import TestServers

_NUMBERS = count(1)


@dataclass(frozen=True, slots=True)
class Subject:
    """A connection to a database whose owner it is."""

    connection: ServerConnection
    database: str
    options: ExtractOptions = field(default_factory=ExtractOptions)

    @property
    def dialect(self) -> Dialect:
        return self.connection.dialect

    async def empty(self) -> None:
        """Drop everything."""
        if self.dialect is Dialect.POSTGRESQL:
            await self.run(["drop schema public cascade", "create schema public"])
            await self.run(["grant usage on schema public to public"])
            return
        await self.run(
            [f"{verb} database {self.database}" for verb in ("drop", "create")]
            + [f"use {self.database}"]
        )

    async def run(self, statements: Sequence[str]) -> None:
        """Run statements one by one."""
        for statement in statements:
            text = sendable(statement, self.dialect)
            await self.connection.execute(text, (), timeout_s=30)

    async def compare(self, extracted: Extracted) -> Difference:
        """What distinguishes the database from `extracted`."""
        return compare(extracted, await introspect(self.connection))

    async def fingerprint(self, extracted: Extracted) -> str:
        """Of what the database has of `extracted`."""
        found = await introspect(self.connection)
        return found.only(extracted.catalogue.objects).fingerprint


@asynccontextmanager
async def open_postgresql(servers: TestServers) -> AsyncIterator[Subject]:
    """A database of ours, as its owner."""
    driver = await servers.driver("shared")
    spec = DatabaseSpec(f"extract{next(_NUMBERS)}")
    await driver.ensure_database(spec)
    raw = await driver.connect(spec, Login.ADMIN, timeout_s=10)
    try:
        await raw.execute(f"set session authorization {identifier(spec.owner)}")
        yield Subject(PostgresConnection(raw), spec.name)
    finally:
        await raw.close()
        await driver.drop_database(spec)


@asynccontextmanager
async def open_plain_postgresql(servers: TestServers) -> AsyncIterator[Subject]:
    """A database on a server on which Bulkhead has made no role."""
    driver = await servers.driver("plain")
    endpoint = driver._driver.endpoint
    raw = await open_connection(endpoint, endpoint.administrator(), timeout_s=10)
    subject = Subject(PostgresConnection(raw), "postgres", ExtractOptions(client_roles=False))
    try:
        await subject.empty()
        yield subject
    finally:
        await raw.close()


@asynccontextmanager
async def open_mysql(server: MariadbServer) -> AsyncIterator[Subject]:
    """A database of MariaDB, as the administrator."""
    endpoint = Endpoint(str(server.socket), 3306, "root", server.password, "", tls=Tls.DISABLE)
    session = Session(endpoint.user, endpoint.password, "")
    connection = await mysql_connection.open_connection(
        Target.of(endpoint), session, timeout_s=10, is_bounded=False
    )
    subject = Subject(connection, f"extract{next(_NUMBERS)}")
    try:
        await subject.run([f"create database {subject.database}", f"use {subject.database}"])
        yield subject
        await subject.run([f"drop database {subject.database}"])
    finally:
        await connection.close()
