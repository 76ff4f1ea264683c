"""The database that a job works on: how it is reached, as its tenant and as who may change it."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from bulkhead.engine.connections.sql import identifier
from bulkhead.engine.drivers.errors import (
    CapabilityMissing,
    ServerUnreachable,
    StatementTimeout,
    translate,
)
from bulkhead.engine.drivers.postgres_connection import PostgresConnection
from bulkhead.engine.drivers.protocol import (
    DatabaseSpec,
    Dialect,
    Driver,
    Login,
    ServerConnection,
)
from bulkhead.engine.errors import Unavailable
from bulkhead.engine.fleet.connection import TenantConnection
from bulkhead.engine.fleet.databases import ManagedDatabase
from bulkhead.engine.fleet.model import TenantId
from bulkhead.engine.fleet.owner import administer_outside
from bulkhead.engine.fleet.tenant_database import TenantDatabase
from bulkhead.engine.provisioning.mark import QUERIES

CONNECT_TIMEOUT_S = 10.0
STATEMENT_TIMEOUT_S = 60.0
LOCK_TIMEOUT_S = 5
VERSION_MIN = 150000
"""PostgreSQL 15, as for databases of our own."""


class DatabaseBusy(Unavailable):
    """Another worker is at the database '{database}'."""

    code = "database_busy"
    retry_after_s = 5


@dataclass(frozen=True, slots=True)
class Target:
    """A database at its place."""

    tenant: TenantId
    database: str
    place: TenantDatabase
    """Opened with the tenant's rights."""
    administer: Callable[[], Awaitable[ServerConnection]]
    """Opens a connection with the rights to change the schema."""
    spec: DatabaseSpec | None = None
    """None for a database that its owner runs."""

    @property
    def dialect(self) -> Dialect:
        """Which SQL its server speaks."""
        return self.place.dialect

    @property
    def is_managed(self) -> bool:
        """Whether the whole database is ours to make and to drop."""
        return self.spec is not None

    @asynccontextmanager
    async def as_tenant(self) -> AsyncIterator[TenantConnection]:
        """A connection with the tenant's rights."""
        connection = await self.place.connect(timeout_s=CONNECT_TIMEOUT_S)
        try:
            yield self.wrap(connection)
        finally:
            connection.terminate()

    @asynccontextmanager
    async def as_owner(self) -> AsyncIterator[TenantConnection]:
        """A connection with the rights to change the schema; on MySQL one at a time has it.

        Raises DatabaseBusy, and ServerUnreachable when the server does not answer.
        """
        try:
            connection = await self.administer()
        except StatementTimeout as error:
            raise ServerUnreachable(server=self.place.server, reason="no answer") from error
        try:
            wrapped = self.wrap(connection)
            if self.dialect is Dialect.MYSQL:
                await _take_lock(wrapped, self.database)
            yield wrapped
        finally:
            connection.terminate()

    def wrap(self, connection: ServerConnection) -> TenantConnection:
        """The facade over `connection` that takes statements of SQLAlchemy's."""
        return TenantConnection(connection, self.tenant, timeout_s=STATEMENT_TIMEOUT_S)


def managed_target(tenant: TenantId, driver: Driver, spec: DatabaseSpec) -> Target:
    """A database on a server of the fleet."""

    async def administer() -> ServerConnection:
        raw: Any = await driver.connect(spec, Login.ADMIN, timeout_s=CONNECT_TIMEOUT_S)
        if driver.dialect is not Dialect.POSTGRESQL:
            connection: ServerConnection = raw
            return connection
        try:
            await raw.execute(f"set role {identifier(spec.owner)}", timeout=CONNECT_TIMEOUT_S)
        except BaseException as error:
            raw.terminate()
            if isinstance(error, Exception):
                raise translate(error) from error
            raise
        return PostgresConnection(raw)

    return Target(tenant, spec.name, ManagedDatabase(driver, spec), administer, spec)


def outside_target(tenant: TenantId, name: str, place: TenantDatabase) -> Target:
    """A database that its owner runs: one login does everything."""
    administer = partial(administer_outside, place, timeout_s=CONNECT_TIMEOUT_S)
    return Target(tenant, name, place, administer)


async def has_client_roles(target: Target, connection: TenantConnection) -> bool:
    """Whether policies can name clients there: everywhere but on a plain PostgreSQL server."""
    if target.is_managed or target.dialect is Dialect.MYSQL:
        return True
    return bool(await connection.fetch_value(QUERIES.has_client_roles_postgresql))


async def verify_version(target: Target, connection: TenantConnection) -> None:
    """Pass for a server that is new enough; raises CapabilityMissing."""
    if target.dialect is Dialect.MYSQL:
        return  # The driver looks at it in each greeting.
    version = await connection.fetch_value(QUERIES.version_postgresql)
    if not isinstance(version, int) or version < VERSION_MIN:
        raise CapabilityMissing(
            server=target.place.server,
            capability="PostgreSQL 15 or later",
            remedy="Upgrade the server, or name another one.",
        )


async def _take_lock(connection: TenantConnection, database: str) -> None:
    """One worker at a time: each statement that changes a schema there commits by itself."""
    name = "bulkhead:" + hashlib.sha256(database.encode()).hexdigest()[:40]
    if await connection.fetch_value(QUERIES.lock_mysql, [name, LOCK_TIMEOUT_S]) != 1:
        raise DatabaseBusy(database=database)
