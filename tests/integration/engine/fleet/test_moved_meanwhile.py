"""What happens to a tenant, its move and their servers while a process works on one of them."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pytest
from tests.integration.engine.fleet.stalled import DEADLINE_S, stalled
from tests.integration.engine.fleet.test_lifecycle import write
from tests.integration.engine.fleet.test_move import (
    ON,
    SCHEMA,
    count,
    moving,
    verify_nothing_left,
    where,
)
from tests.integration.engine.fleet.test_servers_away import admits

from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.connections.database import OpenDatabase
from bulkhead.engine.fleet import move_store
from bulkhead.engine.fleet.archive import verify_archive
from bulkhead.engine.fleet.copy_lock import CopyUnderway
from bulkhead.engine.fleet.copying import BEFORE_COMMIT
from bulkhead.engine.fleet.fleet import Fleet, Gate
from bulkhead.engine.fleet.lifecycle import CloneRefused, Lifecycle
from bulkhead.engine.fleet.model import TenantId, TenantRow, TenantState
from bulkhead.engine.fleet.move import Mover
from bulkhead.engine.fleet.move_abandoned import LEFT
from bulkhead.engine.fleet.move_steps import POINTS
from bulkhead.engine.fleet.move_store import Move, MoveBusy, MoveRefused, MoveUnknown, leased
from bulkhead.engine.fleet.owner import Managed
from bulkhead.engine.fleet.placement import NoServerFits
from bulkhead.engine.fleet.registry import ServerInUse, ServerUnknown, TenantChanged, remove_server
from bulkhead.engine.fleet.replication import unpublish, unsubscribe
from bulkhead.engine.ids import new_id
from bulkhead.engine.testing import TestServers, crash_at

MOVE = """
  insert into bulkhead.fleet_moves
    (id, tenant, fleet, source, target, database, resume_state, deadline_at)
  values ($1, $1, 'test', 'shared', 'second', 'nowhere', 'active', 'infinity')
"""
LET_LEASES_END = "update bulkhead.fleet_moves set leased_until = 'epoch'"


async def sql(registry: OpenDatabase, text: str) -> None:
    async with registry.transaction(SERVICE) as tx:
        await tx.execute(text)


async def forget(registry: OpenDatabase, server: str) -> None:
    async with registry.transaction(SERVICE) as tx:
        await remove_server(tx, server)


@pytest.fixture
def asleep(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody renews a lease: whoever stops at a failpoint sleeps as a whole."""
    monkeypatch.setattr(move_store, "LEASE_S", 3600.0)


@pytest.mark.usefixtures("asleep")
async def test_a_confirmation_that_slept_drops_nothing_that_is_served_again(
    servers: TestServers, registry: OpenDatabase
) -> None:
    """Either side comes first, and the other one is refused."""
    async with moving(servers, registry) as (made, tenant):
        mover = Mover(made.fleet)
        await mover.start(tenant)
        await mover.run(tenant)
        async with stalled(POINTS["back_unfollowed"], mover.confirm(tenant)) as confirming:
            await sql(registry, LET_LEASES_END)
            with pytest.raises(MoveRefused, match="being confirmed"):
                await mover.revert(tenant)
        assert confirming.exception() is None
        assert await where(made, tenant) == ("second", TenantState.ACTIVE)
        assert await count(made, tenant) == 500


@pytest.mark.usefixtures("asleep")
async def test_one_who_takes_a_move_back_too_late_leaves_it_to_who_confirms_it(
    servers: TestServers, registry: OpenDatabase
) -> None:
    async with moving(servers, registry) as (made, tenant):
        mover = Mover(made.fleet)
        await mover.start(tenant)
        await mover.run(tenant)
        async with stalled(POINTS["fenced_back"], mover.revert(tenant)) as reverting:
            await sql(registry, LET_LEASES_END)
            await mover.confirm(tenant)
        assert reverting.exception() is not None
        assert await where(made, tenant) == ("second", TenantState.ACTIVE)
        assert await count(made, tenant) == 500


async def test_a_tenant_that_is_suspended_and_resumed_meanwhile_moves_as_it_is(
    servers: TestServers, registry: OpenDatabase, tmp_path: Path
) -> None:
    async with moving(servers, registry) as (made, tenant):
        mover, lifecycle = Mover(made.fleet), Lifecycle(made.fleet, tmp_path)
        await mover.start(tenant)
        with crash_at(POINTS["caught_up"]):
            await mover.run(tenant)
        await lifecycle.suspend(tenant, "unpaid")
        await mover.run(tenant)
        assert await where(made, tenant) == ("second", TenantState.SUSPENDED)
        await lifecycle.resume(tenant)
        await mover.revert(tenant)
        assert await where(made, tenant) == ("shared", TenantState.ACTIVE)
        assert await count(made, tenant) == 500


async def test_a_tenant_that_is_deleted_meanwhile_is_let_in_by_no_server(
    servers: TestServers, registry: OpenDatabase, tmp_path: Path
) -> None:
    async with moving(servers, registry) as (made, tenant):
        mover, lifecycle = Mover(made.fleet), Lifecycle(made.fleet, tmp_path)
        await mover.start(tenant, deadline_s=-1)
        with crash_at(POINTS["caught_up"]):
            await mover.run(tenant)
        await lifecycle.delete(tenant)
        assert await mover.tend() == 1
        await sql(registry, "update bulkhead.fleet_notices set due_at = 'epoch'")
        await lifecycle.tell_servers()
        assert not await admits(made, tenant)


async def test_one_that_is_deleted_while_it_is_resumed_is_let_in_by_no_server(
    servers: TestServers, registry: OpenDatabase, tmp_path: Path
) -> None:
    async with servers.fleet(registry, tenants=1) as made:
        (tenant,) = made.tenants
        lifecycle = Lifecycle(made.fleet, tmp_path)
        await lifecycle.suspend(tenant, "unpaid")
        async with stalled("fleet.lifecycle:opened_ahead", lifecycle.resume(tenant)) as resuming:
            await lifecycle.delete(tenant)
        assert isinstance(resuming.exception(), TenantChanged)
        await sql(registry, "update bulkhead.fleet_notices set due_at = 'epoch'")
        assert await lifecycle.tell_servers() == 1
        assert not await admits(made, tenant)


@pytest.mark.parametrize(
    ("step", "point"),
    [
        ("caught_up", "target_dropped"),
        ("flipped", "back_unfollowed"),
        ("verified", "source_dropped"),
    ],
)
async def test_nothing_is_left_of_a_tenant_that_is_purged_while_it_moves(
    servers: TestServers, registry: OpenDatabase, tmp_path: Path, step: str, point: str
) -> None:
    """Its move died at `step`, and the first purge at `point`."""
    async with servers.fleet(registry, tenants=3, on=ON, schema=SCHEMA) as made:
        tenant = made.tenants[0]
        await write(made.fleet, tenant, ["kept"])
        mover, lifecycle = Mover(made.fleet), Lifecycle(made.fleet, tmp_path)
        await mover.start(tenant)
        with crash_at(POINTS[step]):
            await mover.run(tenant)
        await lifecycle.delete(tenant, grace_s=0)
        with crash_at(POINTS[point]):
            await lifecycle.purge_due()
        await mover.tend()
        await sql(registry, "update bulkhead.fleet_deletions set leased_until = 'epoch'")
        assert await lifecycle.purge_due() == 1
        with pytest.raises(MoveUnknown):
            await mover.get(tenant)
        made.servers[tenant] = ""
        await verify_nothing_left(made)
        made.servers[tenant] = "shared"
        archive = (await lifecycle.get_deletion(tenant)).archive
        assert archive is not None
        assert verify_archive(Path(archive)).rows == 1


async def test_a_move_is_not_ended_under_a_tenant_that_is_served(
    servers: TestServers, registry: OpenDatabase
) -> None:
    async with moving(servers, registry) as (made, tenant):
        mover = Mover(made.fleet)
        await mover.end_deleted(tenant)
        await mover.start(tenant)
        with pytest.raises(TenantChanged):
            await mover.end_deleted(tenant)
        await mover.revert(tenant)


@dataclass
class Meanwhile:
    """A gate before which something happens to a server that a tenant was about to move to."""

    happen: Callable[[], Awaitable[object]]

    async def admit(self, _: TenantRow) -> None:
        await self.happen()

    async def close(self, *, drain_s: float) -> None:
        """Nothing is under way."""


async def test_no_server_is_forgotten_that_has_a_side_of_a_move(
    servers: TestServers, registry: OpenDatabase
) -> None:
    async with servers.fleet(registry, tenants=1, on=ON, schema=SCHEMA) as made:
        (tenant,) = made.tenants
        await Mover(made.fleet).start(tenant)
        for name in ON:
            with pytest.raises(ServerInUse, match="1 moves"):
                await forget(registry, name)
        await Mover(made.fleet).revert(tenant)
        made.fleet.gate = cast("Gate", Meanwhile(lambda: forget(registry, "second")))
        with pytest.raises(ServerUnknown):
            await Mover(made.fleet).start(tenant)
        with pytest.raises(MoveUnknown):
            await Mover(made.fleet).get(tenant)


@pytest.mark.parametrize(
    ("step", "gone", "left"),
    [("closed", "second", "shared"), ("verified", "shared", "second")],
)
async def test_a_move_ends_one_of_whose_servers_is_gone(
    servers: TestServers, registry: OpenDatabase, step: str, gone: str, left: str
) -> None:
    async with servers.fleet(registry, tenants=1, on=ON, schema=SCHEMA) as made:
        (tenant,) = made.tenants
        mover = Mover(made.fleet)
        move = await mover.start(tenant)
        with crash_at(POINTS[step]):
            await mover.run(tenant)
        async with registry.transaction(SERVICE) as tx:
            await remove_server(tx, gone, abandon=True)
        with crash_at(LEFT):
            await mover.tend()
        assert await mover.tend() == 0
        with pytest.raises(MoveUnknown):
            await mover.get(tenant)
        assert await where(made, tenant) == (left, TenantState.ACTIVE)
        assert await count(made, tenant) == 0
        both = [Managed(made.drivers[name], made.specs[tenant]) for name in (left, gone)]
        async with both[0].administer() as admin:
            assert await admin.fetch("select slot_name from pg_replication_slots") == []
        for name in (move.forward, move.backward):
            await unsubscribe(both[1], name)
            await unpublish(both[1], name)
        await made.drivers["second"].drop_database(made.specs[tenant])


async def test_a_tenant_that_is_resumed_or_moved_meanwhile_becomes_no_clone(
    servers: TestServers, registry: OpenDatabase, tmp_path: Path
) -> None:
    async with servers.fleet(registry, tenants=2) as made:
        source, target = made.tenants
        await write(made.fleet, target, ["kept"])
        lifecycle = Lifecycle(made.fleet, tmp_path)
        await lifecycle.suspend(target, "it becomes a clone")
        async with stalled(BEFORE_COMMIT, lifecycle.clone(source, target)) as cloning:
            await lifecycle.resume(target)
        assert isinstance(cloning.exception(), TenantChanged)
        rows = await made.fleet.query(target, "select body from notes")
        assert [row["body"] for row in rows] == ["kept"]


async def test_rows_come_into_a_tenant_from_one_place_at_a_time(
    servers: TestServers, registry: OpenDatabase, tmp_path: Path
) -> None:
    async with servers.fleet(registry, tenants=2) as made:
        source, target = made.tenants
        lifecycle = Lifecycle(made.fleet, tmp_path)
        await lifecycle.suspend(target, "it becomes a clone")
        async with stalled(BEFORE_COMMIT, lifecycle.clone(source, target)) as cloning:
            with pytest.raises(CopyUnderway):
                await lifecycle.clone(source, target)
            with pytest.raises(CloneRefused):
                await lifecycle.clone(target, source)
        assert await cloning == await lifecycle.clone(source, target) == 0


async def test_tenants_on_their_way_to_a_server_have_their_room_there(
    servers: TestServers, registry: OpenDatabase
) -> None:
    async with servers.fleet(registry, tenants=3, on=ON, schema=SCHEMA) as made:
        here = [each for each in made.tenants if made.servers[each] == "shared"]
        await sql(registry, "update bulkhead.fleet_servers set capacity = 2")
        other = Mover(Fleet("test", made.fleet.databases))
        made.fleet.gate = cast("Gate", Meanwhile(lambda: other.start(here[1])))
        with pytest.raises(NoServerFits, match="wanted: another one than"):
            await Mover(made.fleet).start(here[0])
        assert (await other.start(here[1])).target == "second"
        with pytest.raises(NoServerFits):
            await other.start(here[0])
        await other.revert(here[1])


async def test_whoever_has_lost_a_move_ends_and_lets_nobody_else_have_it(
    registry: OpenDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(move_store, "LEASE_S", 4.0)
    begun, tenant = asyncio.Event(), TenantId(new_id())
    async with registry.transaction(SERVICE) as tx:
        await tx.execute(MOVE, tenant)
        move = await move_store.find_move(tx, tenant)
    assert move is not None

    async def sleep(move: Move) -> None:
        async with leased(registry, move):
            begun.set()
            await asyncio.Event().wait()

    sleeping = asyncio.create_task(sleep(move))
    await begun.wait()
    await sql(registry, LET_LEASES_END)
    async with leased(registry, move):
        async with asyncio.timeout(DEADLINE_S):
            with pytest.raises(MoveBusy):
                await sleeping
        with pytest.raises(MoveBusy):
            async with leased(registry, move):
                pass
    async with leased(registry, move):
        pass


async def test_a_tenant_whose_move_is_stopped_is_served_where_it_is(
    servers: TestServers, registry: OpenDatabase
) -> None:
    """However often that happens, each time when it was fenced."""
    async with moving(servers, registry) as (made, tenant):
        mover = Mover(made.fleet)
        await mover.start(tenant)
        for point, work, server in (
            ("arrived", mover.run, "shared"),
            ("flipped", mover.run, "second"),
            ("verified", mover.run, "second"),
            ("fenced_back", mover.revert, "second"),
        ):
            async with stalled(POINTS[point], work(tenant)) as stopped:
                stopped.cancel()
            assert stopped.cancelled()
            assert await where(made, tenant) == (server, TenantState.ACTIVE)
            assert await count(made, tenant) == 500
        await mover.revert(tenant)
        assert await where(made, tenant) == ("shared", TenantState.ACTIVE)
        assert await count(made, tenant) == 500
