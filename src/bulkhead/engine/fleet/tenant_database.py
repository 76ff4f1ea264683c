"""A tenant's database at its place, whosoever runs the server."""

import asyncio
from dataclasses import dataclass
from typing import Protocol

from bulkhead.engine.clock import monotonic_s
from bulkhead.engine.drivers.errors import ServerUnreachable, StatementTimeout, TooManyConnections
from bulkhead.engine.drivers.protocol import Dialect, ServerConnection
from bulkhead.engine.fleet.model import TenantId

CROWDED_S = 0.05
"""How long to wait where a server has just refused because it has too many connections."""


class TenantDatabase(Protocol):
    """A tenant's database at its place: all that a pool needs to know of it."""

    @property
    def server(self) -> str:
        """A stable name of the server; databases of one name share a budget."""

    @property
    def dialect(self) -> Dialect:
        """Which SQL the server speaks."""

    async def connect(self, *, timeout_s: float) -> ServerConnection:
        """Open a connection with the tenant's rights.

        Raises ServerUnreachable, LoginRefused, DatabaseMissing, TlsRequired, TooManyConnections.
        """


@dataclass(frozen=True, slots=True)
class Limited:
    """A database whose server stops each statement after a while; implements `TenantDatabase`."""

    place: TenantDatabase
    statement_timeout_s: float

    @property
    def server(self) -> str:
        """That of the place."""
        return self.place.server

    @property
    def dialect(self) -> Dialect:
        """That of the place."""
        return self.place.dialect

    async def connect(self, *, timeout_s: float) -> ServerConnection:
        """Open a connection with the tenant's rights, and tell the server; raises as the place."""
        connection = await self.place.connect(timeout_s=timeout_s)
        try:
            await connection.limit_statements(self.statement_timeout_s, timeout_s=timeout_s)
        except BaseException:
            connection.terminate()
            raise
        return connection


async def open_verified(
    database: TenantDatabase, tenant: TenantId, *, timeout_s: float
) -> ServerConnection:
    """Connect to `database` and check that it is the tenant's, within `timeout_s` altogether.

    A server that is crowded is asked again: sessions that were ended stay for a moment. Raises
    IdentityMismatch, ServerUnreachable when the time is over, and what `connect` raises.
    """
    deadline_s = monotonic_s() + timeout_s
    while True:
        try:
            return await _open(database, tenant, max(0.001, deadline_s - monotonic_s()))
        except TooManyConnections:
            if monotonic_s() + CROWDED_S > deadline_s:
                raise
            await asyncio.sleep(CROWDED_S)
        except (TimeoutError, StatementTimeout) as error:
            raise ServerUnreachable(
                server=database.server, reason=f"no answer within {timeout_s:g} s"
            ) from error


async def _open(database: TenantDatabase, tenant: TenantId, timeout_s: float) -> ServerConnection:
    connection: ServerConnection | None = None
    try:
        async with asyncio.timeout(timeout_s):
            connection = await database.connect(timeout_s=timeout_s)
            await connection.verify_identity(tenant, timeout_s=timeout_s)
    except BaseException:
        if connection is not None:
            connection.terminate()
        raise
    return connection
