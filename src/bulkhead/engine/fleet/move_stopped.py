"""Who works on a move and is stopped keeps its tenant from nobody until others go on with it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.errors import BulkheadError
from bulkhead.engine.fleet.model import TenantState
from bulkhead.engine.fleet.move_steps import Steps
from bulkhead.engine.fleet.move_store import Move, MoveStep, get_move, leased
from bulkhead.engine.fleet.registry import get_tenant

log = logging.getLogger(__name__)


@asynccontextmanager
async def working(steps: Steps, move: Move) -> AsyncIterator[None]:
    """As `leased`; a tenant that is fenced when the block is cancelled is served where it is."""
    async with leased(steps.fleet.databases.registry, move) as lease:
        try:
            yield
        except asyncio.CancelledError:
            if not lease.is_lost:
                await _serve(steps, move)
            raise


async def _serve(steps: Steps, move: Move) -> None:
    try:
        async with steps.fleet.databases.registry.transaction(SERVICE) as tx:
            # What is at its commit holds the tenant, until it is there or is not.
            row = await get_tenant(tx, move.tenant, lock=True)
            move = await get_move(tx, move.id)
        ends = await steps.ends(move)
        if row.state is TenantState.MOVING and move.step is MoveStep.FENCED:
            await steps.open(move, ends.source, MoveStep.FENCED, MoveStep.COPYING)
        elif row.state is TenantState.MOVING:  # It was about to go back.
            await steps.open(move, ends.target, move.step, move.step)
        elif move.step is MoveStep.FLIPPED:
            await steps.let_in(move, ends.target)
    except BulkheadError as error:
        log.warning("tenant %s waits for its move to be gone on with: %s", move.tenant, error)
