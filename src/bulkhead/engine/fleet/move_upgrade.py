"""A verified move that meets an upgrade: both databases are migrated, so it keeps its way back.

Changes of a schema do not travel by logical replication, and rows of one schema need not fit into
another. So the tenant is fenced until the old database has all that was written; each of the two is
migrated by itself, and the old one follows anew from there. The move is at `flipped` meanwhile, so
that rows are compared again: where a migration did not do the same to both, the way back is given
up, and the tenant stays where it is.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from bulkhead.engine import failpoints
from bulkhead.engine.clock import monotonic_s
from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.drivers.postgres_connection import PostgresConnection
from bulkhead.engine.fleet.copying import copy_sequences
from bulkhead.engine.fleet.fence import fence
from bulkhead.engine.fleet.migrate_claim import ms_since, note_migrated
from bulkhead.engine.fleet.migrate_tenant import Aim, FleetMigrations, Migrated, migrate_tenant
from bulkhead.engine.fleet.model import TenantState
from bulkhead.engine.fleet.move_steps import Ends, Steps
from bulkhead.engine.fleet.move_store import Move, MoveStep, get_move, note_alarm, note_step
from bulkhead.engine.fleet.registry import get_tenant, set_state
from bulkhead.engine.fleet.replication import (
    is_following,
    list_moved,
    make_slot,
    publish,
    wait_arrived,
)
from bulkhead.engine.migrations.plan import Direction

UPGRADE_POINTS: Final = {
    name: failpoints.register(f"fleet.move_upgrade:{name}")
    for name in (
        "caught_up",
        "closed",
        "unfollowed",
        "target_migrated",
        "source_migrated",
        "slot_made",
    )
}


async def migrate_both(steps: Steps, move: Move, migrations: FleetMigrations) -> None:
    """Migrate both databases of a move that was verified; `Steps.go_on` compares them after that.

    May be repeated after it died anywhere; the caller has the move's lease. Raises MoveBusy and
    TenantChanged when it is not for this process, or not now, to do it; after any other
    BulkheadError `give_up` lets the tenant be served.
    """
    ends, began_s = await steps.ends(move), monotonic_s()
    if move.step is MoveStep.VERIFIED:
        await steps.follow_back(move)
        await steps.wait_followed_back(move, ends)
        await failpoints.reach(UPGRADE_POINTS["caught_up"])
    await _close(steps, move)
    await failpoints.reach(UPGRADE_POINTS["closed"])
    await _bring_last(steps, move, ends)
    await failpoints.reach(UPGRADE_POINTS["unfollowed"])
    migrated = await _migrate(steps, move, move.target, migrations)
    await failpoints.reach(UPGRADE_POINTS["target_migrated"])
    await _migrate(steps, move, move.source, migrations)
    await failpoints.reach(UPGRADE_POINTS["source_migrated"])
    await publish(ends.target, move.backward, await list_moved(ends.target))
    await make_slot(ends.target, move.backward)
    await failpoints.reach(UPGRADE_POINTS["slot_made"])
    await steps.let_in(move, ends.target)
    async with steps.fleet.databases.registry.transaction(SERVICE) as tx:
        await note_migrated(tx, move.tenant, move.target, migrated, ms_since(began_s))
        await set_state(tx, move.tenant, move.resume_state, expected=[TenantState.MOVING])
    steps.fleet.invalidate(move.tenant)


async def give_up(steps: Steps, move: Move) -> None:
    """Serve the tenant where it is; the move can only be confirmed. The caller has its lease."""
    registry = steps.fleet.databases.registry
    async with registry.transaction(SERVICE, read_only=True) as tx:
        move = await get_move(tx, move.id)
    if move.step is MoveStep.FLIPPED:
        await steps.let_in(move, (await steps.ends(move)).target)
    async with registry.transaction(SERVICE) as tx:
        await note_alarm(tx, move)
        if move.step is MoveStep.FLIPPED:
            expected = [move.resume_state, TenantState.MOVING]
            await set_state(tx, move.tenant, move.resume_state, expected=expected)
            await note_step(tx, move, MoveStep.VERIFIED)
    steps.fleet.invalidate(move.tenant)


async def _close(steps: Steps, move: Move) -> None:
    async with steps.fleet.databases.registry.transaction(SERVICE) as tx:
        expected = [move.resume_state, TenantState.MOVING]
        await set_state(tx, move.tenant, TenantState.MOVING, expected=expected)
        await note_step(tx, move, MoveStep.FLIPPED)


async def _bring_last(steps: Steps, move: Move, ends: Ends) -> None:
    """Nobody writes, everything has arrived at the old database, and it follows no more."""
    steps.fleet.invalidate(move.tenant)
    await fence(ends.target, drain_s=steps.limits.drain_s)
    # One that does not follow any more had everything when this was begun before.
    if await is_following(ends.source, move.backward):
        async with ends.target.administer() as there, ends.source.administer() as here:
            await wait_arrived(
                there, here, move.database, move.backward, timeout_s=steps.limits.arrive_s
            )
            # A migration that takes numbers from them takes the same ones on both sides.
            await copy_sequences(PostgresConnection(there), PostgresConnection(here))
    await steps.stop_following_back(move, ends)


async def _migrate(steps: Steps, move: Move, server: str, migrations: FleetMigrations) -> Migrated:
    databases = steps.fleet.databases
    async with databases.registry.transaction(SERVICE, read_only=True) as tx:
        row = await get_tenant(tx, move.tenant)
    there = replace(row, place=replace(row.place, server=server))
    aim = Aim(Direction.UP, migrations.latest)
    return await migrate_tenant(databases, there, migrations, aim)
