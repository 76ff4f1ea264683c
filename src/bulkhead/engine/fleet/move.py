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
from bulkhead.engine.fleet.fleet import Fleet, Gate
from bulkhead.engine.fleet.model import ServerKind, TenantId, TenantRow, TenantState
from bulkhead.engine.fleet.move_abandoned import end_abandoned
from bulkhead.engine.fleet.move_steps import POINTS, Ends, MoveLimits, Steps
from bulkhead.engine.fleet.move_stopped import working
from bulkhead.engine.fleet.move_store import (
    QUERIES,
    STEPS,
    Move,
    MoveBusy,
    MoveRefused,
    MoveStep,
    MoveUnknown,
    find_move,
    get_move,
    leased,
    move_of,
    note_alarm,
)
from bulkhead.engine.fleet.move_upgrade import give_up, migrate_both
from bulkhead.engine.fleet.placement import Wish, choose_server
from bulkhead.engine.fleet.registry import QUERIES as REGISTRY
from bulkhead.engine.fleet.registry import ServerUnknown, TenantChanged, get_server, get_tenant
from bulkhead.engine.fleet.replication import (
    ReplicationStuck,
    kept_bytes,
    list_moved,
    unpublish,
    unsubscribe,
    verify_able,
)
from bulkhead.engine.fleet.rows import RowsDiffer
from bulkhead.engine.ids import new_id

UNSEEN: Final = frozenset([MoveStep.STARTED, MoveStep.SCHEMA, MoveStep.COPYING])
"""Steps at which nobody has noticed anything of the move yet."""
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

        A tenant that is being moved already goes on with that. One whose schema is older than the
        code bears is migrated first: it could not be while it moves. Raises MoveRefused,
        NoServerFits, CapabilityMissing, TenantBehind, TenantUnknown, ServerUnknown.
        """
        async with self._registry.transaction(SERVICE) as tx:
            row = await get_tenant(tx, tenant)
            known = await find_move(tx, tenant)
            if known is not None:
                return known
            refusal, wish = _refusal(row), None
            if refusal is None and server is None:
                wish = Wish(row.place.kind, labels or {}, elsewhere_than=row.place.server)
                server = (await choose_server(tx, wish)).name
            if refusal is None and server == row.place.server:
                refusal = "it is there already"
            if refusal is not None:
                raise MoveRefused(tenant=tenant, reason=refusal)
            assert server is not None, "named or chosen"
            if (await get_server(tx, server)).kind is not ServerKind.POSTGRESQL:
                raise MoveRefused(tenant=tenant, reason=f"'{server}' is not a PostgreSQL server")
            taken = await tx.fetchval(QUERIES.is_taken, server, row.place.database)
        ends = await self._steps.ends_of(row, server)
        if taken:
            raise MoveRefused(tenant=tenant, reason=f"'{server}' has a database of that name")
        await self._prepare(row, ends)
        move = await self._add(row, server, wish, deadline_s)
        await failpoints.reach(POINTS["started"])
        return move

    async def _add(self, row: TenantRow, server: str, wish: Wish | None, deadline_s: float) -> Move:
        """A move to a server that was named, or chosen by `wish` if nobody else has its room."""
        async with self._registry.transaction(SERVICE) as tx:
            await tx.execute(REGISTRY.lock_servers, row.place.kind.value)
            has_room = await tx.fetchval(QUERIES.has_room, server)
            if has_room is None:
                raise ServerUnknown(server=server)
            if wish is not None and not has_room:
                raise wish.refused()
            await tx.execute(QUERIES.lock_tenant, row.id)
            await tx.execute(QUERIES.add_move, new_id(), row.id, server, deadline_s)
            move = await find_move(tx, row.id)
        if move is None:
            raise MoveRefused(tenant=row.id, reason="it is being migrated, or was closed")
        return move

    async def _prepare(self, row: TenantRow, ends: Ends) -> None:
        await verify_able(ends.source)
        await list_moved(ends.source)
        if self.fleet.gate is not None:
            await self.fleet.gate.admit(row)

    async def run(self, tenant: TenantId) -> Move:
        """Bring the tenant's move to `verified`, from wherever it is.

        Waits while another process works on it. Raises MoveUnknown; ReplicationStuck when the last
        changes did not arrive in time, after which it is served where it was and this can be
        repeated; RowsDiffer, after which the move has been taken back; and TenantChanged for one
        that is suspended or deleted in the midst of it.
        """
        while True:
            try:
                await self._make_way(await self.get(tenant))
                return await self._run(tenant)
            except MoveBusy:
                await asyncio.sleep(BUSY_POLL_S)

    async def get(self, tenant: TenantId) -> Move:
        """The tenant's open move; raises MoveUnknown, MoveOfAnother."""
        async with self._registry.transaction(SERVICE, read_only=True) as tx:
            move = await find_move(tx, tenant)
        if move is None:
            raise MoveUnknown(tenant=tenant)
        return move

    async def list_open(self) -> tuple[Move, ...]:
        """The open moves of the fleet, the oldest first; without those of other releases."""
        async with self._registry.transaction(SERVICE, read_only=True) as tx:
            rows = await tx.fetch(QUERIES.list_moves, self.fleet.name)
        return tuple(move_of(row) for row in rows if row["step"] in STEPS)

    async def confirm(self, tenant: TenantId) -> None:
        """Drop the old database of a move that was verified; it cannot be taken back any more.

        Raises MoveUnknown, MoveBusy, and MoveRefused before it was verified.
        """
        _verify_verified(move := await self.get(tenant))
        async with leased(self._registry, move):
            _verify_verified(move := await self.get(tenant))
            await self._serve(move)
            await self._drop_source(move)

    async def revert(self, tenant: TenantId) -> None:
        """Take the move back; nothing that was written meanwhile is lost.

        Raises MoveUnknown, MoveBusy, ReplicationStuck when the way back does not follow, and
        MoveRefused when its time is over and the old database no longer follows the new one.
        """
        move = await self.get(tenant)
        if move.step is MoveStep.FLIPPED and move.was_verified:
            move = await self.run(tenant)  # Whether the migrated databases are the same.
        async with working(self._steps, move):
            move = await self.get(tenant)
            if move.step is MoveStep.VERIFIED and move.alarmed_at is not None:
                reason = "its time is over, or it is being confirmed: nothing follows back any more"
                raise MoveRefused(tenant=tenant, reason=reason)
            await self._steps.revert(move)

    async def end_deleted(self, tenant: TenantId) -> None:
        """Leave a tenant that is purged no database but the one where it is, wherever its move is.

        Nothing happens without a move; may be repeated after it died anywhere. Raises MoveBusy, and
        TenantChanged for a tenant that is not deleted.
        """
        async with self._registry.transaction(SERVICE, read_only=True) as tx:
            move = await find_move(tx, tenant)
        if move is None:
            return
        async with leased(self._registry, move):
            move = await self.get(tenant)
            async with self._registry.transaction(SERVICE, read_only=True) as tx:
                if (await get_tenant(tx, tenant)).state is not TenantState.DELETING:
                    raise TenantChanged(tenant=tenant, expected=TenantState.DELETING.value)
            if move.step in (MoveStep.FLIPPED, MoveStep.VERIFIED):
                await self._drop_source(move)
            else:
                await self._steps.revert(move)

    async def tend(self) -> int:
        """Go on with moves whose process died, and end those whose time is over; for a job.

        A move is late after its deadline, or when a server has to keep too much of its log for it.
        Late ones are taken back; one that was verified stays where it is, is followed no more, and
        can only be confirmed. Moves of tenants whose schema the code does not bear any more are
        migrated too, or make way for that; those one of whose servers was forgotten as gone end.
        Returns how many moves were late.
        """
        late = 0
        for found in await self.list_open():
            try:
                if await end_abandoned(self._steps, found):
                    continue
                move = await self._make_way(found)
                is_late = await self._is_late(move)
                late += is_late
                if is_late:
                    await self._end(move)
                elif move.step is not MoveStep.VERIFIED:
                    await self._run(move.tenant)
                else:
                    await self._follow_back(move)
            except MoveBusy:
                continue
            except BulkheadError as error:
                log.warning("the move of tenant %s: %s", found.tenant, error)
        return late

    @property
    def _steps(self) -> Steps:
        return Steps(self.fleet, self.limits)

    @property
    def _registry(self) -> OpenDatabase:
        return self.fleet.databases.registry

    async def _run(self, tenant: TenantId) -> Move:
        move = await self.get(tenant)
        async with working(self._steps, move):
            move = await self.get(tenant)
            while move.step not in (MoveStep.VERIFIED, MoveStep.REVERTED):
                try:
                    await self._steps.go_on(move)
                except (RowsDiffer, ReplicationStuck):
                    if not move.was_verified:
                        raise
                    log.exception("the move of tenant %s can only be confirmed", tenant)
                    await give_up(self._steps, move)
                async with self._registry.transaction(SERVICE, read_only=True) as tx:
                    move = await get_move(tx, move.id)
        return move

    async def _drop_source(self, move: Move) -> None:
        async with self._registry.transaction(SERVICE) as tx:
            # From here on nobody goes back to what is dropped, also if this process sleeps.
            await note_alarm(tx, move)
        ends = await self._steps.ends(move)
        if move.step is MoveStep.FLIPPED:
            await unsubscribe(ends.target, move.forward)
            await unpublish(ends.source, move.forward)
        await self._steps.stop_following_back(move, ends)
        await failpoints.reach(POINTS["back_unfollowed"])
        await ends.source.driver.drop_database(ends.source.spec)
        await failpoints.reach(POINTS["source_dropped"])
        await self._steps.note(move, MoveStep.CONFIRMED)

    async def _make_way(self, move: Move) -> Move:
        """Have a tenant migrated that the code cannot serve otherwise; its move after that.

        What was only copied so far is begun anew. Where the tenant is served at its new place
        already, both databases are migrated; if that fails, the way back is given up, so that the
        tenant can be migrated like any other.
        """
        gate = self.fleet.gate
        async with self._registry.transaction(SERVICE, read_only=True) as tx:
            row = await get_tenant(tx, move.tenant)
        if gate is None or gate.bears(row):
            return move
        if move.was_verified and move.alarmed_at is None:
            await self._migrate_both(move, gate)
        elif move.step in UNSEEN:
            log.warning("the move of tenant %s is begun anew: it is behind", move.tenant)
            await self.revert(move.tenant)
            await self.start(move.tenant, server=move.target)
        return await self.get(move.tenant)

    async def _migrate_both(self, move: Move, gate: Gate) -> None:
        async with leased(self._registry, move):
            async with self._registry.transaction(SERVICE, read_only=True) as tx:
                row = await get_tenant(tx, move.tenant)
                move = await get_move(tx, move.id)
            if gate.bears(row) or move.step not in (MoveStep.VERIFIED, MoveStep.FLIPPED):
                return
            if row.state not in (TenantState.ACTIVE, TenantState.MOVING):
                return  # Nobody asks for it, so that it can wait for what becomes of the move.
            try:
                await migrate_both(self._steps, move, gate.migrations)
            except (MoveBusy, TenantChanged):
                raise  # Somebody else does it, or it was suspended meanwhile.
            except BulkheadError:
                log.exception("the move of tenant %s can only be confirmed", move.tenant)
                await give_up(self._steps, move)

    async def _follow_back(self, move: Move) -> None:
        async with leased(self._registry, move):
            if (await self.get(move.tenant)).step is MoveStep.VERIFIED:
                await self._serve(move)
                await self._steps.follow_back(move)

    async def _serve(self, move: Move) -> None:
        """Go on where the tenant is, if taking it back died when it was fenced."""
        async with self._registry.transaction(SERVICE, read_only=True) as tx:
            row = await get_tenant(tx, move.tenant)
        if row.state is TenantState.MOVING:
            target = (await self._steps.ends(move)).target
            await self._steps.open(move, target, MoveStep.VERIFIED, MoveStep.VERIFIED)

    async def _is_late(self, move: Move) -> bool:
        if move.deadline_at < now() or move.alarmed_at is not None:
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
            # Not while somebody takes it back, which then would be too late.
            async with leased(self._registry, move):
                move = await self.get(move.tenant)
                if move.step is MoveStep.VERIFIED:
                    await self._serve(move)
                    await self._alarm(move)
                    await self._steps.stop_following_back(move, await self._steps.ends(move))
            return
        await self._alarm(move)
        if move.step is MoveStep.FLIPPED:
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
                await note_alarm(tx, move)


def _verify_verified(move: Move) -> None:
    if move.step is not MoveStep.VERIFIED:
        reason = f"its move is not verified, but {move.step}"
        raise MoveRefused(tenant=move.tenant, reason=reason)


def _refusal(row: TenantRow) -> str | None:
    place = row.place
    if place.server is None or place.sealed_connection is not None:
        return "its database is its owner's"
    if place.kind is not ServerKind.POSTGRESQL:
        return "only PostgreSQL databases are moved while they are served; export and clone it"
    if row.state not in (TenantState.ACTIVE, TenantState.SUSPENDED):
        return f"it is {row.state.value}"
    return None
