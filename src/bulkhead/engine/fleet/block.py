"""The blocks in which a tenant's connection may be used; they always give it back."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING

from bulkhead.engine.fleet.connection import TenantConnection, TransactionBlock
from bulkhead.engine.fleet.model import TenantId, TenantState

if TYPE_CHECKING:
    from bulkhead.engine.fleet.fleet import Fleet


class ConnectionBlock:
    """`async with fleet.connection(tenant) as connection`."""

    __slots__ = ("_connection", "_fleet", "_lease", "_states", "_tenant")

    def __init__(self, fleet: Fleet, tenant: TenantId, states: frozenset[TenantState]) -> None:
        """Prepare; nothing happens before the block is entered."""
        self._fleet = fleet
        self._tenant = tenant
        self._states = states

    async def __aenter__(self) -> TenantConnection:
        """Lease a connection."""
        self._lease, self._connection = await self._fleet.lease(self._tenant, self._states)
        return self._connection

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Give it back."""
        self._fleet.release(self._lease, self._connection, error)


class TenantTransaction:
    """`async with fleet.transaction(tenant) as tx`."""

    __slots__ = ("_block", "_connection", "_read_only", "_transaction")

    def __init__(
        self,
        fleet: Fleet,
        tenant: TenantId,
        states: frozenset[TenantState],
        *,
        read_only: bool,
    ) -> None:
        """Prepare; nothing happens before the block is entered."""
        self._block = ConnectionBlock(fleet, tenant, states)
        self._read_only = read_only

    async def __aenter__(self) -> TenantConnection:
        """Lease a connection and begin."""
        self._connection = await self._block.__aenter__()
        self._transaction: TransactionBlock = self._connection.transaction(
            read_only=self._read_only
        )
        try:
            return await self._transaction.__aenter__()
        except BaseException as error:
            await self._block.__aexit__(type(error), error, None)
            raise

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Commit or roll back, and give the connection back."""
        ended: BaseException | None = error
        try:
            await self._transaction.__aexit__(kind, error, trace)
        except BaseException as failure:
            ended = failure
            raise
        finally:
            await self._block.__aexit__(type(ended) if ended else None, ended, None)
