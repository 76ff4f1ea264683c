"""The steps of a move; each may be repeated after it died anywhere."""

from __future__ import annotations

import json
import logging
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass, replace
from typing import Final

from bulkhead.engine import failpoints
from bulkhead.engine.clock import monotonic_s
from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.connections.database import OpenDatabase
from bulkhead.engine.drivers.errors import CapabilityMissing
from bulkhead.engine.drivers.postgres_connection import PostgresConnection
from bulkhead.engine.errors import BulkheadError
from bulkhead.engine.fleet.copying import copy_sequences
from bulkhead.engine.fleet.databases import spec_of_place
from bulkhead.engine.fleet.fence import fence, open_again
from bulkhead.engine.fleet.fleet import Fleet
from bulkhead.engine.fleet.model import ServerKind, TenantRow, TenantState
from bulkhead.engine.fleet.move_store import BEFORE_FLIP, QUERIES, Move, MoveStep, note_step
from bulkhead.engine.fleet.notices import CLOSED, add_notice
from bulkhead.engine.fleet.owner import Managed
from bulkhead.engine.fleet.registry import QUERIES as REGISTRY
from bulkhead.engine.fleet.registry import get_tenant, set_place, set_state
from bulkhead.engine.fleet.replication import (
    copy_schema,
    follow,
    list_moved,
    make_slot,
    publish,
    stop_following,
    subscribe,
    unpublish,
    unsubscribe,
    wait_arrived,
    wait_copied,
)
from bulkhead.engine.fleet.rows import RowsDiffer, TableSum, snapshot, sum_all, verify_equal

POINTS: Final = {
    name: failpoints.register(f"fleet.move:{name}")
    for name in (
        "started",
        "schema_copied",
        "published",
        "subscribed",
        "caught_up",
        "slot_made",
        "closed",
        "fenced",
        "arrived",
        "before_flip",
        "flipped",
        "opened",
        "unfollowed",
        "followed_back",
        "compared",
        "verified",
        "back_unfollowed",
        "source_dropped",
        "fenced_back",
        "reverting",
        "returned",
        "target_dropped",
    )
}


BACK_TIMEOUT_S: Final = 300.0
"""How long the old database may take to have followed, before anybody is fenced for it."""

MIGRATIONS: Final = "bulkhead.migrations"
"""The table in which a database notes its migrations, and when it had them."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class MoveLimits:
    """How a move treats whoever is served meanwhile."""

    lag_bytes_max: int = 1 << 20
    """How much may be left to follow when the tenant is fenced."""
    drain_s: float = 2.0
    """How long requests under way may take to end while it is fenced."""
    arrive_s: float = 10.0
    """How long the last changes may take; after that the tenant is served where it was."""
    kept_bytes_max: int = 16 << 30
    """How much of its log a server may have to keep for a move."""


@dataclass(frozen=True, slots=True)
class Ends:
    """The database where it was and where it goes."""

    source: Managed
    target: Managed


@dataclass(frozen=True, slots=True)
class Seen:
    """Both databases, through connections that see the moment of the fence."""

    source: PostgresConnection
    target: PostgresConnection


@dataclass(slots=True, eq=False)
class Steps:
    """What is done for the moves of a fleet; the caller has the move's lease."""

    fleet: Fleet
    limits: MoveLimits

    @property
    def _registry(self) -> OpenDatabase:
        return self.fleet.databases.registry

    async def go_on(self, move: Move) -> None:
        """One step further."""
        match move.step:
            case MoveStep.STARTED:
                await self._make_target(move)
            case MoveStep.SCHEMA:
                await self._follow(move)
            case MoveStep.COPYING:
                await self._catch_up(move)
                await self._fence(move)
            case MoveStep.FENCED:
                await self._fence(move)
            case MoveStep.FLIPPED:
                await self._settle(move, None)
            case _:
                await self.revert(move)

    async def _make_target(self, move: Move) -> None:
        ends = await self.ends(move)
        try:
            await copy_schema(ends.source, ends.target)
        except CapabilityMissing:
            await self.revert(move)
            raise
        await fence(ends.target)
        await failpoints.reach(POINTS["schema_copied"])
        await self.note(move, MoveStep.SCHEMA)

    async def _follow(self, move: Move) -> None:
        ends = await self.ends(move)
        await publish(ends.source, move.forward, await list_moved(ends.source))
        await failpoints.reach(POINTS["published"])
        await subscribe(ends.target, ends.source, move.forward, copying=True)
        await failpoints.reach(POINTS["subscribed"])
        await self.note(move, MoveStep.COPYING)

    async def _catch_up(self, move: Move) -> None:
        ends = await self.ends(move)
        await follow(ends.target, move.forward)
        await wait_copied(
            ends.target, ends.source, move.forward, lag_bytes_max=self.limits.lag_bytes_max
        )
        await failpoints.reach(POINTS["caught_up"])
        await publish(ends.target, move.backward, await list_moved(ends.target))
        await make_slot(ends.target, move.backward)
        await failpoints.reach(POINTS["slot_made"])

    async def _fence(self, move: Move) -> None:
        """Serve nobody until the tenant is flipped; every connection is open before that."""
        ends = await self.ends(move)
        async with AsyncExitStack() as stack:
            held = Ends(
                await stack.enter_async_context(ends.source.holding()),
                await stack.enter_async_context(ends.target.holding()),
            )
            here = await stack.enter_async_context(ends.source.administer())
            there = await stack.enter_async_context(ends.target.administer())
            await follow(held.target, move.forward)
            began_s = monotonic_s()
            if move.step is MoveStep.COPYING:
                await self._close(move)
            seen = Seen(PostgresConnection(here), PostgresConnection(there))
            try:
                await self._bring_last(move, held, seen)
            except BulkheadError:
                await self.open(move, ends.source, MoveStep.FENCED, MoveStep.COPYING)
                raise
            for connection in (seen.source, seen.target):
                await stack.enter_async_context(snapshot(connection))
            await failpoints.reach(POINTS["before_flip"])
            await self._flip(move, move.target, MoveStep.FENCED, MoveStep.FLIPPED)
            await failpoints.reach(POINTS["flipped"])
            await self.let_in(move, held.target)
            fence_ms = (monotonic_s() - began_s) * 1000
            async with self._registry.transaction(SERVICE) as tx:
                await tx.execute(QUERIES.note_fence, move.id, fence_ms)
            await failpoints.reach(POINTS["opened"])
            await self._settle(replace(move, step=MoveStep.FLIPPED), seen)

    async def _close(self, move: Move) -> None:
        async with self._registry.transaction(SERVICE) as tx:
            expected = [move.resume_state, TenantState.MOVING]
            await set_state(tx, move.tenant, TenantState.MOVING, expected=expected)
            await note_step(tx, move, MoveStep.FENCED)
        self.fleet.invalidate(move.tenant)
        await failpoints.reach(POINTS["closed"])

    async def _bring_last(self, move: Move, held: Ends, seen: Seen) -> None:
        """Nobody writes, and everything that was written has arrived."""
        await self._drain(move, held.source)
        await failpoints.reach(POINTS["fenced"])
        async with held.source.administer() as admin:
            await wait_arrived(
                admin, held.target.held, move.database, move.forward, timeout_s=self.limits.arrive_s
            )
        await failpoints.reach(POINTS["arrived"])
        await stop_following(held.target, move.forward)
        await copy_sequences(seen.source, seen.target)

    async def _settle(self, move: Move, seen: Seen | None) -> None:
        """Let the old database follow, and compare the two as of the moment of the fence."""
        ends = await self.ends(move)
        await self.let_in(move, ends.target)
        await unsubscribe(ends.target, move.forward)
        await unpublish(ends.source, move.forward)
        await failpoints.reach(POINTS["unfollowed"])
        await subscribe(ends.source, ends.target, move.backward, copying=False)
        await failpoints.reach(POINTS["followed_back"])
        try:
            if seen is None:
                report = await self._compare_again(move, ends)
            else:
                report = await _compare(move, ends, seen)
        except RowsDiffer:
            if move.was_verified:
                raise
            log.exception("the move of tenant %s is taken back", move.tenant)
            await self.revert(move)
            raise
        await failpoints.reach(POINTS["compared"])
        async with self._registry.transaction(SERVICE) as tx:
            text = json.dumps({name: asdict(total) for name, total in report.items()})
            await tx.execute(QUERIES.note_report, move.id, text)
            await note_step(tx, move, MoveStep.VERIFIED)
        await failpoints.reach(POINTS["verified"])

    async def _compare_again(self, move: Move, ends: Ends) -> dict[str, TableSum]:
        """After a crash nobody has the moment of the fence any more: another short one."""
        async with AsyncExitStack() as stack:
            here = await stack.enter_async_context(ends.source.administer())
            there = await stack.enter_async_context(ends.target.administer())
            await self._set_state(move, TenantState.MOVING)
            try:
                await self._drain(move, ends.target)
                await wait_arrived(
                    there, here, move.database, move.backward, timeout_s=self.limits.arrive_s
                )
                origin, copy = PostgresConnection(here), PostgresConnection(there)
                for connection in (origin, copy):
                    await stack.enter_async_context(snapshot(connection))
            finally:
                await self._set_state(move, move.resume_state)
                await self.let_in(move, ends.target)
            return await _compare(move, ends, Seen(origin, copy))

    async def revert(self, move: Move) -> None:
        """Serve the tenant where it was, and leave nothing of the move."""
        ends = await self.ends(move)
        if move.step in BEFORE_FLIP:
            if move.step is MoveStep.FENCED:
                await self.open(move, ends.source, MoveStep.FENCED, MoveStep.REVERTING)
            else:
                await self.note(move, MoveStep.REVERTING)
        elif move.step is not MoveStep.REVERTING:
            await self._return(move, ends)
        await failpoints.reach(POINTS["reverting"])
        await self.let_in(move, ends.source)
        await unsubscribe(ends.target, move.forward)
        await unpublish(ends.source, move.forward)
        await self.stop_following_back(move, ends)
        await failpoints.reach(POINTS["returned"])
        await ends.target.driver.drop_database(ends.target.spec)
        await failpoints.reach(POINTS["target_dropped"])
        await self.note(replace(move, step=MoveStep.REVERTING), MoveStep.REVERTED)

    async def _return(self, move: Move, ends: Ends) -> None:
        """Serve the tenant where it was, with everything that was written since."""
        await unsubscribe(ends.target, move.forward)
        await unpublish(ends.source, move.forward)
        await subscribe(ends.source, ends.target, move.backward, copying=False)
        await self.wait_followed_back(move, ends)
        async with ends.source.holding() as source, ends.target.holding() as target:
            await self._set_state(move, TenantState.MOVING)
            try:
                await self._drain(move, target)
                await failpoints.reach(POINTS["fenced_back"])
                await wait_arrived(
                    target.held,
                    source.held,
                    move.database,
                    move.backward,
                    timeout_s=self.limits.arrive_s,
                )
                await copy_sequences(
                    PostgresConnection(target.held), PostgresConnection(source.held)
                )
            except BulkheadError:
                await self._set_state(move, move.resume_state)
                await self.let_in(move, ends.target)
                raise
            await self.let_in(move, source)
            await self._flip(move, move.source, move.step, MoveStep.REVERTING)

    async def wait_followed_back(self, move: Move, ends: Ends) -> None:
        """Return when the old database is nearly as far as the new one; raises ReplicationStuck."""
        name, lag_max = move.backward, self.limits.lag_bytes_max
        await wait_copied(
            ends.source, ends.target, name, lag_bytes_max=lag_max, timeout_s=BACK_TIMEOUT_S
        )

    async def follow_back(self, move: Move) -> None:
        """Let the old database go on following, also after a restart of the new one's server."""
        ends = await self.ends(move)
        await subscribe(ends.source, ends.target, move.backward, copying=False)

    async def stop_following_back(self, move: Move, ends: Ends) -> None:
        """Let the old database follow no more; the slot for it is gone."""
        await unsubscribe(ends.source, move.backward)
        await unpublish(ends.target, move.backward)

    async def _drain(self, move: Move, managed: Managed) -> None:
        self.fleet.invalidate(move.tenant)
        await fence(managed, drain_s=self.limits.drain_s)

    async def let_in(self, move: Move, managed: Managed) -> None:
        """Take the fence of `managed` away, unless the tenant is suspended."""
        if move.resume_state is not TenantState.ACTIVE:
            return
        await open_again(managed)
        async with self._registry.transaction(SERVICE) as tx:
            row = await get_tenant(tx, move.tenant)
            if row.state in CLOSED:
                await add_notice(tx, row)  # Closed while it moves: its server is told again.

    async def _flip(self, move: Move, server: str, expected: MoveStep, step: MoveStep) -> None:
        """The tenant is at `server`, with a new generation, and the move has come to `step`."""
        async with self._registry.transaction(SERVICE) as tx:
            await tx.execute(REGISTRY.lock_servers, ServerKind.POSTGRESQL.value)
            row = await get_tenant(tx, move.tenant, lock=True)
            place = replace(row.place, server=server)
            await set_place(tx, move.tenant, place, generation=row.generation)
            await set_state(tx, move.tenant, move.resume_state, expected=[TenantState.MOVING])
            await note_step(tx, replace(move, step=expected), step)
        self.fleet.invalidate(move.tenant)

    async def open(self, move: Move, managed: Managed, expected: MoveStep, step: MoveStep) -> None:
        """Serve the tenant where it still is, `managed`."""
        await self.let_in(move, managed)
        async with self._registry.transaction(SERVICE) as tx:
            await set_state(tx, move.tenant, move.resume_state, expected=[TenantState.MOVING])
            await note_step(tx, replace(move, step=expected), step)
        self.fleet.invalidate(move.tenant)

    async def _set_state(self, move: Move, state: TenantState) -> None:
        async with self._registry.transaction(SERVICE) as tx:
            expected = [move.resume_state, TenantState.MOVING]
            await set_state(tx, move.tenant, state, expected=expected)
        self.fleet.invalidate(move.tenant)

    async def note(self, move: Move, step: MoveStep) -> None:
        """The move has come to `step`."""
        async with self._registry.transaction(SERVICE) as tx:
            await note_step(tx, move, step)

    async def ends(self, move: Move) -> Ends:
        """Both databases of a move."""
        async with self._registry.transaction(SERVICE, read_only=True) as tx:
            row = await get_tenant(tx, move.tenant)
        place = replace(row.place, server=move.source)
        return await self.ends_of(replace(row, place=place), move.target)

    async def ends_of(self, row: TenantRow, server: str) -> Ends:
        """Where a tenant is, and the same at another server."""
        databases = self.fleet.databases
        assert row.place.server is not None, "only managed databases move"
        spec = spec_of_place(row.place)
        source = await databases.driver(await databases.server(row.place.server))
        target = await databases.driver(await databases.server(server))
        return Ends(Managed(source, spec), Managed(target, spec))


async def _compare(move: Move, ends: Ends, seen: Seen) -> dict[str, TableSum]:
    tables = await list_moved(ends.source)
    if move.was_verified:  # Each was migrated by itself since, at a time of its own.
        tables = tuple(table for table in tables if table.label != MIGRATIONS)
    expected = await sum_all(seen.source, tables)
    verify_equal(expected, await sum_all(seen.target, tables))
    return expected
