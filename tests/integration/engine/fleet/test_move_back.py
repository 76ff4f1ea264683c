"""Moves that are taken back by a process that dies."""

import pytest
from tests.integration.engine.fleet.test_move import count, moving, where

from bulkhead.engine.connections.database import OpenDatabase
from bulkhead.engine.fleet.model import TenantState
from bulkhead.engine.fleet.move import Mover
from bulkhead.engine.fleet.move_steps import POINTS
from bulkhead.engine.fleet.move_store import MoveUnknown
from bulkhead.engine.testing import TestServers, crash_at


@pytest.mark.parametrize("point", ["reverting", "returned", "target_dropped"])
@pytest.mark.parametrize("flipped", [False, True])
async def test_taking_a_move_back_can_die_too(
    servers: TestServers, registry: OpenDatabase, point: str, *, flipped: bool
) -> None:
    async with moving(servers, registry) as (made, tenant):
        mover = Mover(made.fleet)
        await mover.start(tenant)
        if flipped:
            await mover.run(tenant)
        else:
            with crash_at(POINTS["caught_up"]):
                await mover.run(tenant)
        with crash_at(POINTS[point]):
            await mover.revert(tenant)
        await mover.tend()
        with pytest.raises(MoveUnknown):
            await mover.get(tenant)
        assert await where(made, tenant) == ("shared", TenantState.ACTIVE)
        assert await count(made, tenant) == 500


@pytest.mark.parametrize(("deadline_s", "tended"), [(60.0, True), (-1.0, True), (60.0, False)])
async def test_a_tenant_is_served_where_it_is_when_its_way_back_died_at_the_fence(
    servers: TestServers, registry: OpenDatabase, deadline_s: float, *, tended: bool
) -> None:
    async with moving(servers, registry) as (made, tenant):
        mover = Mover(made.fleet)
        await mover.start(tenant, deadline_s=deadline_s)
        await mover.run(tenant)
        with crash_at(POINTS["fenced_back"]):
            await mover.revert(tenant)
        if tended:
            assert await mover.tend() == (deadline_s < 0)
            assert await where(made, tenant) == ("second", TenantState.ACTIVE)
            assert await count(made, tenant) == 500
        await mover.confirm(tenant)
        assert await where(made, tenant) == ("second", TenantState.ACTIVE)
        assert await count(made, tenant) == 500
