"""Moves in the registry: one open move for each tenant, and how far it has come."""

from __future__ import annotations

import datetime as dt
import json
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
from bulkhead.engine.fleet.renewal import LeaseLost, renewing
from bulkhead.engine.ongoing import claimed

QUERIES: Final = load_queries(__package__, "move.sql")
LEASE_S: Final = 30.0


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


STEPS: Final = frozenset(step.value for step in MoveStep)
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


class MoveOfAnother(Conflict):
    """The move of tenant {tenant} is at step '{step}', which this release does not know."""

    code = "move_of_another_release"
    hint = "Leave it to the release that has taken it up; nothing of it was touched."


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
    def was_verified(self) -> bool:
        """Whether rows were compared before; so that of `flipped` ones an upgrade is the reason."""
        return self.report is not None

    @property
    def forward(self) -> str:
        """What the publication, the subscription and the slot towards the target are called."""
        return f"bulkhead_move_{self.id.hex}"

    @property
    def backward(self) -> str:
        """The same for the way back."""
        return f"bulkhead_move_{self.id.hex}_back"


def move_of(row: Any) -> Move:  # noqa: ANN401 - asyncpg.Record
    """Read a row of `fleet_moves`; raises MoveOfAnother."""
    fields = dict(row)
    if fields["step"] not in STEPS:
        raise MoveOfAnother(tenant=fields["tenant"], step=fields["step"])
    for name in ("error", "report"):
        fields[name] = json.loads(fields[name]) if fields[name] is not None else None
    fields["step"] = MoveStep(fields["step"])
    fields["resume_state"] = TenantState(fields["resume_state"])
    return Move(**fields)


async def find_move(tx: Transaction, tenant: TenantId) -> Move | None:
    """The open move of a tenant; raises MoveOfAnother."""
    row = await tx.fetchrow(QUERIES.find_move, tenant)
    return move_of(row) if row is not None else None


async def get_move(tx: Transaction, move: UUID) -> Move:
    """One move, as it is now."""
    return move_of(await tx.fetchrow(QUERIES.get_move, move))


async def note_step(tx: Transaction, move: Move, step: MoveStep) -> None:
    """A move has come to `step`; raises MoveBusy when somebody else has moved it on."""
    row = await tx.fetchrow(QUERIES.note_step, move.id, move.step.value, step.value)
    if row is None:
        raise MoveBusy(tenant=move.tenant)


async def note_alarm(tx: Transaction, move: Move) -> None:
    """The time of a move is over, or its way back is given up; raises MoveBusy as `note_step`."""
    if await tx.fetchrow(QUERIES.note_alarm, move.id, move.step.value) is None:
        raise MoveBusy(tenant=move.tenant)


@dataclass(slots=True)
class Lease:
    """That only this process works on a move."""

    move: Move
    until: dt.datetime
    """As the registry has it, which tells whose it is."""
    is_lost: bool = False
    """Whether somebody else has taken the move over."""


@asynccontextmanager
async def leased(registry: OpenDatabase, move: Move) -> AsyncIterator[Lease]:
    """Be the only one who works on the move; what fails is noted.

    Raises MoveBusy, also from within the block when somebody else has taken the move over: this
    process has slept for longer than its lease.
    """

    async def give_back(lease: Lease, error: BulkheadError | None = None) -> None:
        told = json.dumps(error.to_json()) if error is not None else None
        async with registry.transaction(SERVICE) as tx:
            await tx.execute(QUERIES.release_move, move.id, told, lease.until)

    async def renew() -> bool:
        async with registry.transaction(SERVICE) as tx:
            until = await tx.fetchval(QUERIES.renew_move, move.id, LEASE_S, lease.until)
        lease.is_lost, lease.until = until is None, until or lease.until
        return not lease.is_lost

    lease, error = await claimed(_take(registry, move), give_back), None
    try:
        async with renewing(renew, LEASE_S, "a move"):
            yield lease
    except BulkheadError as failure:
        error = failure
        raise
    except LeaseLost as lost:
        raise MoveBusy(tenant=move.tenant) from lost
    finally:
        await give_back(lease, error)


async def _take(registry: OpenDatabase, move: Move) -> Lease:
    async with registry.transaction(SERVICE) as tx:
        until = await tx.fetchval(QUERIES.lease_move, move.id, LEASE_S)
    if until is None:
        raise MoveBusy(tenant=move.tenant)
    return Lease(move, until)
