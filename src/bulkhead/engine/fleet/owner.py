"""The way into a tenant's database with the rights to change its schema; serves no request."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

from bulkhead.engine.connections.sql import identifier
from bulkhead.engine.drivers.errors import FAILURES, is_connection_loss, translate
from bulkhead.engine.drivers.postgres_connection import PostgresConnection
from bulkhead.engine.drivers.protocol import (
    DatabaseSpec,
    Dialect,
    Driver,
    Login,
    ServerConnection,
)
from bulkhead.engine.fleet.databases import Databases, spec_of_place
from bulkhead.engine.fleet.model import TenantPlace, TenantRow
from bulkhead.engine.fleet.mysql import OutsideMysql
from bulkhead.engine.fleet.tenant_database import TenantDatabase

CONNECT_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class Managed:
    """A database on a server of the fleet."""

    driver: Driver
    spec: DatabaseSpec
    held: Any = None
    """A connection of the administrator to be used again and again."""

    @asynccontextmanager
    async def holding(self) -> AsyncIterator[Managed]:
        """The same with one connection for everything: where there is no time to connect."""
        async with self.administer() as raw:
            yield replace(self, held=raw)

    @asynccontextmanager
    async def administer(self) -> AsyncIterator[Any]:
        """The administrator's connection, as the driver opens it."""
        if self.held is not None:
            try:
                yield self.held
            except FAILURES as error:
                if _is_of_files(error):
                    raise
                raise translate(error) from error
            return
        raw: Any = await self.driver.connect(self.spec, Login.ADMIN, timeout_s=CONNECT_TIMEOUT_S)
        try:
            yield raw
        except FAILURES as error:
            if _is_of_files(error):
                raise
            raise translate(error) from error
        finally:
            raw.terminate()


def _is_of_files(error: BaseException) -> bool:
    """Whether it is about a file that the block wrote, and not about the server."""
    return isinstance(error, OSError) and not is_connection_loss(error)


async def find_managed(databases: Databases, place: TenantPlace) -> Managed | None:
    """The database at `place` if it is on a server of the fleet, None where its owner runs it."""
    if place.server is None or place.sealed_connection is not None:
        return None
    driver = await databases.driver(await databases.server(place.server))
    return Managed(driver, spec_of_place(place))


@asynccontextmanager
async def as_owner(databases: Databases, tenant: TenantRow) -> AsyncIterator[ServerConnection]:
    """A connection that may change the tenant's schema, outside of any transaction.

    On a managed PostgreSQL server it is the owner's, whom policies may bind; elsewhere that of the
    one login there is.
    """
    managed = await find_managed(databases, tenant.place)
    if managed is None:
        connection = await _connect_outside(databases, tenant)
        try:
            yield connection
        finally:
            connection.terminate()
        return
    async with managed.administer() as raw:
        if managed.driver.dialect is Dialect.MYSQL:
            yield raw
            return
        await raw.execute(f"set role {identifier(managed.spec.owner)}")
        yield PostgresConnection(raw)


@asynccontextmanager
async def past_policies(databases: Databases, tenant: TenantRow) -> AsyncIterator[ServerConnection]:
    """A connection that sees and writes every row of the tenant; rather fails than hides one."""
    managed = await find_managed(databases, tenant.place)
    if managed is None:
        connection = await _connect_outside(databases, tenant)
        try:
            if isinstance(connection, PostgresConnection):
                await connection.keep_setting("row_security", "off", timeout_s=CONNECT_TIMEOUT_S)
            yield connection
        finally:
            connection.terminate()
        return
    async with managed.administer() as raw:
        if managed.driver.dialect is Dialect.MYSQL:
            yield raw
            return
        if not await raw.fetchval("select rolsuper from pg_roles where rolname = current_user"):
            await raw.execute("set role service_role")
        await raw.execute("set row_security = off")
        yield PostgresConnection(raw)


async def administer_outside(
    place: TenantDatabase, *, timeout_s: float = CONNECT_TIMEOUT_S
) -> ServerConnection:
    """A connection for changes of the schema to a database where one login does everything."""
    if isinstance(place, OutsideMysql):
        return await place.administer(timeout_s=timeout_s)
    return await place.connect(timeout_s=timeout_s)


async def _connect_outside(databases: Databases, tenant: TenantRow) -> ServerConnection:
    opened = await databases.open(tenant)
    return await administer_outside(opened.database)
