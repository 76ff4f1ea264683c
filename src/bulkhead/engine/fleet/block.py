"""The blocks in which a tenant's connection may be used; they always give it back."""

from __future__ import annotations

from dataclasses import dataclass
from types import TracebackType
from typing import Protocol

from bulkhead.engine.drivers.errors import (
    PoolerExhausted,
    ServerUnreachable,
    StatementTimeout,
    is_connection_loss,
)
from bulkhead.engine.errors import BulkheadError
from bulkhead.engine.fleet.budget import Lease
from bulkhead.engine.fleet.connection import TenantConnection, TransactionBlock
from bulkhead.engine.fleet.model import TenantId, TenantState
from bulkhead.engine.fleet.pools import TenantPool

BEGINS_MAX = 3
HOPELESS = (PoolerExhausted, StatementTimeout, ServerUnreachable)
"""Losses of a connection after which another one fares no better."""


@dataclass(slots=True, eq=False)
class Use:
    """A connection in use, and where it goes back to."""

    pool: TenantPool
    lease: Lease
    connection: TenantConnection


class Lender(Protocol):
    """Who leases connections: the fleet."""

    async def lease(self, tenant: TenantId, states: frozenset[TenantState]) -> Use:
        """Lease a connection of a tenant that is in one of `states`."""

    def release(self, use: Use, error: BaseException | None) -> None:
        """Give it back; `error` is what ended its use."""


class ConnectionBlock:
    """`async with fleet.connection(tenant) as connection`."""

    __slots__ = ("_fleet", "_states", "_tenant", "_use")

    def __init__(self, fleet: Lender, tenant: TenantId, states: frozenset[TenantState]) -> None:
        """Prepare; nothing happens before the block is entered."""
        self._fleet = fleet
        self._tenant = tenant
        self._states = states

    async def __aenter__(self) -> TenantConnection:
        """Lease a connection."""
        self._use = await self._fleet.lease(self._tenant, self._states)
        return self._use.connection

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Give it back."""
        self._fleet.release(self._use, error)


class TenantTransaction:
    """`async with fleet.transaction(tenant) as tx`."""

    __slots__ = ("_block", "_connection", "_read_only", "_transaction")

    def __init__(
        self,
        fleet: Lender,
        tenant: TenantId,
        states: frozenset[TenantState],
        *,
        read_only: bool,
    ) -> None:
        """Prepare; nothing happens before the block is entered."""
        self._block = ConnectionBlock(fleet, tenant, states)
        self._read_only = read_only

    async def __aenter__(self) -> TenantConnection:
        """Lease a connection and begin; begins on another one where the first has died.

        Nothing of the caller's has been sent until then.
        """
        for _ in range(BEGINS_MAX - 1):
            try:
                return await self._begin()
            except BulkheadError as error:
                if not is_connection_loss(error) or isinstance(error, HOPELESS):
                    raise
        return await self._begin()

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

    async def _begin(self) -> TenantConnection:
        self._connection = await self._block.__aenter__()
        self._transaction: TransactionBlock = self._connection.transaction(
            read_only=self._read_only
        )
        try:
            return await self._transaction.__aenter__()
        except BaseException as error:
            await self._block.__aexit__(type(error), error, None)
            raise
