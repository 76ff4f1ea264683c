"""A move one of whose servers is gone: nothing is left of it where the tenant is served.

Above all no slot, for which that server would keep its log until its disk is full.
"""

from __future__ import annotations

from typing import Final

from bulkhead.engine import failpoints
from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.fleet.model import TenantState
from bulkhead.engine.fleet.move_steps import Steps
from bulkhead.engine.fleet.move_store import Move, MoveStep, get_move, leased
from bulkhead.engine.fleet.owner import find_managed
from bulkhead.engine.fleet.registry import ServerUnknown, get_server, get_tenant
from bulkhead.engine.fleet.replication import unpublish, unsubscribe

LEFT: Final = failpoints.register("fleet.move_abandoned:left")


async def end_abandoned(steps: Steps, move: Move) -> bool:
    """End a move whose other server was forgotten as one that is gone; whether it was that.

    The tenant stays where it is. May be repeated after it died anywhere. Raises MoveBusy.
    """
    databases = steps.fleet.databases
    async with databases.registry.transaction(SERVICE, read_only=True) as tx:
        server = (await get_tenant(tx, move.tenant)).place.server
        try:
            await get_server(tx, move.source if server == move.target else move.target)
        except ServerUnknown:
            pass
        else:
            return False
    async with leased(databases.registry, move):
        async with databases.registry.transaction(SERVICE, read_only=True) as tx:
            row, move = await get_tenant(tx, move.tenant), await get_move(tx, move.id)
        managed = await find_managed(databases, row.place)
        assert managed is not None, "only managed databases move"
        if row.state is TenantState.MOVING:
            await steps.open(move, managed, move.step, move.step)
        for name in (move.forward, move.backward):
            await unsubscribe(managed, name)
            await unpublish(managed, name)
        await failpoints.reach(LEFT)
        is_there = row.place.server == move.target
        await steps.note(move, MoveStep.CONFIRMED if is_there else MoveStep.REVERTED)
    return True
