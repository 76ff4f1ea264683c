"""Moves in the registry: one open move for each tenant, and how far it has come."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.connections.database import OpenDatabase
from bulkhead.engine.connections.queries import load_queries
from bulkhead.engine.connections.transaction import Transaction
from bulkhead.engine.errors import BulkheadError, Conflict, NotFound
from bulkhead.engine.fleet.model import TenantId, TenantState

QUERIES: Final = load_queries(__package__, "move.sql")
LEASE_S: Final = 30.0

log = logging.getLogger(__name__)


class MoveStep(StrEnum):
    """How far a move has come; the words of the table's CHECK."""

    STARTED = "started"
    SCHEMA = "schema"
    """The new database has the schema, and no rows."""
    COPYING = "copying"
    """The new database follows the old one."""
    FENCED = "fenced"
    """Nobody is served, for a moment."""
    FLIPPED = "flipped"
    """The tenant is served by the new server."""
    VERIFIED = "verified"
    """Rows were compared; the old database follows the new one until the move is confirmed."""
    CONFIRMED = "confirmed"
    REVERTING = "reverting"
    REVERTED = "reverted"


BEFORE_FLIP: Final = frozenset(
    [MoveStep.STARTED, MoveStep.SCHEMA, MoveStep.COPYING, MoveStep.FENCED]
)


class MoveUnknown(NotFound):
    """Tenant {tenant} is not being moved."""

    code = "move_unknown"


class MoveRefused(Conflict):
    """Tenant {tenant} cannot be moved: {reason}."""

    code = "move_refused"


class MoveBusy(Conflict):
    """Another process works on the move of tenant {tenant}."""

    code = "move_busy"


@dataclass(frozen=True, slots=True)
class Move:
    """A tenant on its way from one server to another."""

    id: UUID
    tenant: TenantId
    fleet: str
    source: str
    target: str
    database: str
    step: MoveStep
    resume_state: TenantState
    error: Mapping[str, Any] | None
    fence_ms: float | None
    """For how long nobody could write, when it has been."""
    report: Mapping[str, Any] | None
    """By table, how many rows there were when it was fenced."""
    deadline_at: dt.datetime
    alarmed_at: dt.datetime | None
    finished_at: dt.datetime | None

    @property
    def forward(self) -> str:
        """What the publication, the subscription and the slot towards the target are called."""
        return f"bulkhead_move_{self.id.hex}"

    @property
    def backward(self) -> str:
        """The same for the way back."""
        return f"bulkhead_move_{self.id.hex}_back"


def move_of(row: Any) -> Move:  # noqa: ANN401 - asyncpg.Record
    """Read a row of `fleet_moves`."""
    fields = dict(row)
    for name in ("error", "report"):
        fields[name] = json.loads(fields[name]) if fields[name] is not None else None
    fields["step"] = MoveStep(fields["step"])
    fields["resume_state"] = TenantState(fields["resume_state"])
    return Move(**fields)


async def find_move(tx: Transaction, tenant: TenantId) -> Move | None:
    """The open move of a tenant."""
    row = await tx.fetchrow(QUERIES.find_move, tenant)
    return move_of(row) if row is not None else None


async def get_move(tx: Transaction, move: UUID) -> Move:
    """One move, as it is now."""
    return move_of(await tx.fetchrow(QUERIES.get_move, move))


async def note_step(tx: Transaction, move: Move, step: MoveStep) -> None:
    """A move has come to `step`; raises MoveBusy when somebody else has moved it on."""
    row = await tx.fetchrow(QUERIES.note_step, move.id, move.step.value, step.value, LEASE_S)
    if row is None:
        raise MoveBusy(tenant=move.tenant)


@asynccontextmanager
async def leased(registry: OpenDatabase, move: Move) -> AsyncIterator[None]:
    """Be the only one who works on the move; what fails is noted. Raises MoveBusy."""
    async with registry.transaction(SERVICE) as tx:
        if await tx.fetchrow(QUERIES.lease_move, move.id, LEASE_S) is None:
            raise MoveBusy(tenant=move.tenant)
    error: BulkheadError | None = None
    renewing = asyncio.create_task(_renew(registry, move))
    try:
        yield
    except BulkheadError as failure:
        error = failure
        raise
    finally:
        renewing.cancel()
        told = json.dumps(error.to_json()) if error is not None else None
        async with registry.transaction(SERVICE) as tx:
            await tx.execute(QUERIES.release_move, move.id, told)


async def _renew(registry: OpenDatabase, move: Move) -> None:
    while True:
        await asyncio.sleep(LEASE_S / 4)
        try:
            async with registry.transaction(SERVICE) as tx:
                await tx.execute(QUERIES.renew_move, move.id, LEASE_S)
        except BulkheadError as error:
            log.warning("the lease of a move could not be renewed: %s", error)
