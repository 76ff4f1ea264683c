"""Move a tenant from one PostgreSQL server to another while it is served.

The new database gets the schema and follows the old one by logical replication. Once little is
left to follow, the tenant is fenced: nobody is let in, what was written last arrives, sequences are
set, and the registry names the new place. From then on the old database follows the new one, so
that the move can be taken back without loss until somebody confirms it. Rows are counted and hashed
on both sides as of the moment of the fence, after it.

Every step may be repeated: a move whose process died is gone on with, or taken back. What is left
of it on either server has its name, and none of it outlives the move: `tend` sees to that.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from bulkhead.engine import failpoints
from bulkhead.engine.clock import now
from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.connections.database import OpenDatabase
from bulkhead.engine.errors import BulkheadError
from bulkhead.engine.fleet.fleet import Fleet
from bulkhead.engine.fleet.model import ServerKind, TenantId, TenantRow, TenantState
from bulkhead.engine.fleet.move_steps import POINTS, MoveLimits, Steps
from bulkhead.engine.fleet.move_store import (
    QUERIES,
    Move,
    MoveBusy,
    MoveRefused,
    MoveStep,
    MoveUnknown,
    find_move,
    get_move,
    leased,
    move_of,
)
from bulkhead.engine.fleet.placement import Wish, choose_server
from bulkhead.engine.fleet.registry import get_server, get_tenant
from bulkhead.engine.fleet.replication import kept_bytes, list_moved, verify_able
from bulkhead.engine.ids import new_id

DEADLINE_S: Final = 86_400.0
BUSY_POLL_S: Final = 0.5

log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class Mover:
    """Moves the tenants of `fleet` between its PostgreSQL servers."""

    fleet: Fleet
    limits: MoveLimits = field(default_factory=MoveLimits)

    async def start(
        self,
        tenant: TenantId,
        *,
        server: str | None = None,
        labels: Mapping[str, str] | None = None,
        deadline_s: float = DEADLINE_S,
    ) -> Move:
        """Begin a move to `server`, or to the emptiest one with `labels`; `run` does it.

        A tenant that is being moved already goes on with that. Raises MoveRefused, NoServerFits,
        CapabilityMissing, TenantUnknown, ServerUnknown.
        """
        async with self._registry.transaction(SERVICE) as tx:
            row = await get_tenant(tx, tenant)
            known = await find_move(tx, tenant)
            if known is not None:
                return known
            refusal = _refusal(row)
            if refusal is None and server is None:
                wish = Wish(row.place.kind, labels or {}, elsewhere_than=row.place.server)
                server = (await choose_server(tx, wish)).name
            if refusal is None and server == row.place.server:
                refusal = "it is there already"
            if refusal is not None:
                raise MoveRefused(tenant=tenant, reason=refusal)
            assert server is not None, "named or chosen"
            kind = (await get_server(tx, server)).kind
            taken = await tx.fetchval(QUERIES.is_taken, server, row.place.database)
        ends = await self._steps.ends_of(row, server)
        if taken or kind is not ServerKind.POSTGRESQL:
            raise MoveRefused(tenant=tenant, reason=f"'{server}' cannot take its database")
        await verify_able(ends.source)
        await list_moved(ends.source)
        async with self._registry.transaction(SERVICE) as tx:
            await tx.execute(QUERIES.add_move, new_id(), tenant, server, deadline_s)
            move = await find_move(tx, tenant)
        if move is None:
            raise MoveRefused(tenant=tenant, reason="it is being migrated, or was closed")
        await failpoints.reach(POINTS["started"])
        return move

    async def run(self, tenant: TenantId) -> Move:
        """Bring the tenant's move to `verified`, from wherever it is.

        Waits while another process works on it. Raises MoveUnknown; ReplicationStuck when the last
        changes did not arrive in time, after which it is served where it was and this can be
        repeated; and RowsDiffer, after which the move has been taken back.
        """
        while True:
            try:
                return await self._run(tenant)
            except MoveBusy:
                await asyncio.sleep(BUSY_POLL_S)

    async def get(self, tenant: TenantId) -> Move:
        """The tenant's open move; raises MoveUnknown."""
        async with self._registry.transaction(SERVICE, read_only=True) as tx:
            move = await find_move(tx, tenant)
        if move is None:
            raise MoveUnknown(tenant=tenant)
        return move

    async def list_open(self) -> tuple[Move, ...]:
        """The open moves of the fleet, the oldest first."""
        async with self._registry.transaction(SERVICE, read_only=True) as tx:
            rows = await tx.fetch(QUERIES.list_moves, self.fleet.name)
        return tuple(map(move_of, rows))

    async def confirm(self, tenant: TenantId) -> None:
        """Drop the old database of a move that was verified; it cannot be taken back any more.

        Raises MoveUnknown, MoveBusy, and MoveRefused before it was verified.
        """
        move = await self.get(tenant)
        if move.step is not MoveStep.VERIFIED:
            raise MoveRefused(tenant=tenant, reason=f"its move is not verified, but {move.step}")
        async with leased(self._registry, move):
            ends = await self._steps.ends(move)
            await self._steps.stop_following_back(move, ends)
            await failpoints.reach(POINTS["back_unfollowed"])
            await ends.source.driver.drop_database(ends.source.spec)
            await failpoints.reach(POINTS["source_dropped"])
            await self._steps.note(move, MoveStep.CONFIRMED)

    async def revert(self, tenant: TenantId) -> None:
        """Take the move back; nothing that was written meanwhile is lost.

        Raises MoveUnknown, MoveBusy, and ReplicationStuck when the way back does not follow.
        """
        move = await self.get(tenant)
        async with leased(self._registry, move):
            move = await self.get(tenant)
            if move.step is MoveStep.VERIFIED and move.alarmed_at is not None:
                reason = "its time is over, and the old database does not follow any more"
                raise MoveRefused(tenant=tenant, reason=reason)
            await self._steps.revert(move)

    async def tend(self) -> int:
        """Go on with moves whose process died, and end those whose time is over; for a job.

        A move is late after its deadline, or when a server has to keep too much of its log for it.
        Late ones are taken back; one that was verified stays where it is, is followed no more, and
        can only be confirmed. Returns how many moves were late.
        """
        late = 0
        for move in await self.list_open():
            try:
                is_late = await self._is_late(move)
                late += is_late
                if is_late:
                    await self._alarm(move)
                    await self._end(move)
                elif move.step is not MoveStep.VERIFIED:
                    await self._run(move.tenant)
            except MoveBusy:
                continue
            except BulkheadError as error:
                log.warning("the move of tenant %s: %s", move.tenant, error)
        return late

    @property
    def _steps(self) -> Steps:
        return Steps(self.fleet, self.limits)

    @property
    def _registry(self) -> OpenDatabase:
        return self.fleet.databases.registry

    async def _run(self, tenant: TenantId) -> Move:
        move = await self.get(tenant)
        async with leased(self._registry, move):
            move = await self.get(tenant)
            while move.step not in (MoveStep.VERIFIED, MoveStep.REVERTED):
                await self._steps.go_on(move)
                async with self._registry.transaction(SERVICE, read_only=True) as tx:
                    move = await get_move(tx, move.id)
        return move

    async def _is_late(self, move: Move) -> bool:
        if move.deadline_at < now():
            return True
        ends = await self._steps.ends(move)
        kept = [
            await kept_bytes(managed, name)
            for managed, name in ((ends.source, move.forward), (ends.target, move.backward))
            if move.step is not MoveStep.STARTED or managed is ends.source
        ]
        return max(kept) > self.limits.kept_bytes_max

    async def _end(self, move: Move) -> None:
        if move.step is MoveStep.VERIFIED:
            async with leased(self._registry, move):
                await self._steps.stop_following_back(move, await self._steps.ends(move))
        elif move.step is MoveStep.FLIPPED:
            await self._run(move.tenant)
        else:
            await self.revert(move.tenant)

    async def _alarm(self, move: Move) -> None:
        if move.alarmed_at is None:
            log.error(
                "the move of tenant %s from %s to %s is over its time at step %s",
                move.tenant,
                move.source,
                move.target,
                move.step,
            )
            async with self._registry.transaction(SERVICE) as tx:
                await tx.execute(QUERIES.note_alarm, move.id)


def _refusal(row: TenantRow) -> str | None:
    place = row.place
    if place.server is None or place.sealed_connection is not None:
        return "its database is its owner's"
    if place.kind is not ServerKind.POSTGRESQL:
        return "only PostgreSQL databases are moved while they are served; export and clone it"
    if row.state not in (TenantState.ACTIVE, TenantState.SUSPENDED):
        return f"it is {row.state.value}"
    return None
