"""A tenant's database at its place, whosoever runs the server."""

from typing import Protocol

from bulkhead.engine.drivers.protocol import Dialect, ServerConnection


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
