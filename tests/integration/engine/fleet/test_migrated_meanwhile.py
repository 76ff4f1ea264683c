"""Runs of a fleet's migration begin, end and lose their tenants while others do the same."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import cast

import pytest
from tests.integration.engine.fleet.migrating import migrations, note_version, tenant_row
from tests.integration.engine.fleet.stalled import DEADLINE_S, stalled
from tests.integration.engine.provisioning.test_asked_meanwhile import Overtaken
from tests.integration.waiting import BLOCKED

from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.connections.database import OpenDatabase
from bulkhead.engine.connections.transaction import Transaction
from bulkhead.engine.fleet import migrate_claim
from bulkhead.engine.fleet.fleet import Fleet
from bulkhead.engine.fleet.gate import SchemaGate, TenantBehind
from bulkhead.engine.fleet.migrate import FleetMigrator, Outcome, RollOut
from bulkhead.engine.fleet.migrate_claim import QUERIES, begin_run, note_migrated
from bulkhead.engine.fleet.migrate_tenant import Aim, Migrated
from bulkhead.engine.fleet.model import TenantId, TenantState
from bulkhead.engine.fleet.move import Mover
from bulkhead.engine.fleet.move_store import MoveRefused
from bulkhead.engine.fleet.registry import TenantChanged, set_state
from bulkhead.engine.migrations.plan import Direction
from bulkhead.engine.testing import TestFleet, TestServers

UP, DOWN = Aim(Direction.UP, 5), Aim(Direction.DOWN, 3)
MIGRATED = "fleet.migrate:migrated"
FAILED = """
  insert into bulkhead.fleet_migrations
    (tenant, run, direction, target, state, owner, leased_until, retry_at, finished_at)
  select $1, run, direction, target, 'failed', owner, leased_until, 'epoch', now()
  from bulkhead.fleet_migrations
"""


async def begin(registry: OpenDatabase, aim: Aim) -> object:
    async with registry.transaction(SERVICE) as tx:
        return await begin_run(tx, "test", aim)


async def end(registry: OpenDatabase) -> None:
    async with registry.transaction(SERVICE) as tx:
        await tx.execute(
            "update bulkhead.fleet_migration_runs"
            " set state = 'done', finished_at = now() where state = 'running'"
        )


@pytest.mark.parametrize("at", [1, 2])
async def test_a_run_that_just_ends_is_not_joined(registry: OpenDatabase, at: int) -> None:
    first = await begin(registry, UP)
    async with registry.transaction(SERVICE) as tx:
        overtaken = Overtaken(tx, at, lambda: end(registry))
        second = await begin_run(cast("Transaction", overtaken), "test", UP)
    assert second != first
    assert await begin(registry, UP) == second


async def test_a_run_with_another_aim_that_just_begins_gives_way(registry: OpenDatabase) -> None:
    others: list[object] = []

    async def begin_another() -> None:
        others.append(await begin(registry, DOWN))

    async with registry.transaction(SERVICE) as tx:
        overtaken = Overtaken(tx, 1, begin_another)
        mine = await begin_run(cast("Transaction", overtaken), "test", UP)
    assert mine not in others
    async with registry.transaction(SERVICE) as tx:
        assert not await tx.fetchval(QUERIES.is_running, others[0])
        assert await tx.fetchval(QUERIES.is_running, mine)


async def migrate_one(
    made: TestFleet, meanwhile: Callable[[TenantId], Awaitable[None]], *, wave: int = 2
) -> Outcome:
    """How a run of two tenants ends when something happens once the first one is migrated."""
    await note_version(made, 1)
    migrator = FleetMigrator(made.fleet.databases, migrations(2), "tester")
    options = RollOut(canary=0, wave=wave, parallel=1, lease_s=2.0)
    async with stalled(MIGRATED, migrator.apply(options)) as run:
        await meanwhile(max(made.tenants))
    async with asyncio.timeout(DEADLINE_S):
        return await run


async def test_a_tenant_that_failed_and_is_closed_meanwhile_keeps_no_run_waiting(
    servers: TestServers, registry: OpenDatabase
) -> None:
    async with servers.fleet(registry, tenants=2) as made:

        async def fail_and_close(tenant: TenantId) -> None:
            async with registry.transaction(SERVICE) as tx:
                await tx.execute(FAILED, tenant)
                await set_state(tx, tenant, TenantState.DELETING, expected=[TenantState.ACTIVE])

        outcome = await migrate_one(made, fail_and_close, wave=1)
        assert (outcome.state, outcome.total) == ("done", 2)


async def test_a_tenant_that_waited_too_long_for_its_turn_may_be_moved_instead(
    servers: TestServers, registry: OpenDatabase
) -> None:
    """The one that is being migrated is kept, and is not moved."""
    async with servers.fleet(registry, tenants=2, on=("shared", "second")) as made:

        async def move_once_it_can_be(tenant: TenantId) -> None:
            leases = "select min(leased_until) < clock_timestamp() from bulkhead.fleet_migrations"
            ended = False
            async with asyncio.timeout(DEADLINE_S):
                while not ended:
                    async with registry.transaction(SERVICE) as tx:
                        ended = await tx.fetchval(leases)
            await Mover(made.fleet).start(tenant)
            with pytest.raises(MoveRefused, match="being migrated"):
                await Mover(made.fleet).start(min(made.tenants))

        outcome = await migrate_one(made, move_once_it_can_be)
        assert (outcome.state, outcome.done) == ("done", 1)
        versions = [(await tenant_row(made, each)).schema_version for each in sorted(made.tenants)]
        assert versions == [2, 1]
        async with registry.transaction(SERVICE) as tx:
            await tx.execute("delete from bulkhead.fleet_moves")
            with pytest.raises(TenantChanged):
                await note_migrated(tx, max(made.tenants), "elsewhere", Migrated(2, None, ()), 1)


@pytest.mark.parametrize("point", ["claimed", "migrated"])
async def test_a_run_that_is_stopped_leaves_its_tenants_to_the_next_one(
    servers: TestServers, registry: OpenDatabase, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    """One tenant is being migrated, one has still waited for its turn."""
    monkeypatch.setattr(migrate_claim, "SETTLED_S", 0.0)
    async with servers.fleet(registry, tenants=2) as made:
        await note_version(made, 1)
        migrator = FleetMigrator(made.fleet.databases, migrations(2), "tester")
        options = RollOut(canary=0, parallel=1)
        async with stalled(f"fleet.migrate:{point}", migrator.apply(options)) as run:
            run.cancel()
        assert run.cancelled()
        async with asyncio.timeout(DEADLINE_S):
            assert (await migrator.apply(options)).done == 2


async def test_who_is_stopped_leaves_what_it_migrates_on_request_to_the_next_run(
    servers: TestServers, registry: OpenDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrate_claim, "SETTLED_S", 0.0)
    async with servers.fleet(registry, tenants=1) as made:
        await note_version(made, 1)
        (tenant,) = made.tenants
        databases = made.fleet.databases
        gate = SchemaGate(databases, migrations(2), minimum=2, wait_s=0.1)
        fleet = Fleet("test", databases, gate=gate)
        async with made.administer(tenant) as admin, admin.transaction():
            await admin.execute("lock table notes in access share mode")
            with pytest.raises(TenantBehind, match="at the moment"):
                await fleet.query(tenant, "select 1")
            while not await admin.fetchval(BLOCKED):
                """Until it is being migrated, however slow the machine."""
            await fleet.close(drain_s=0)
        async with asyncio.timeout(DEADLINE_S):
            assert (await FleetMigrator(databases, migrations(2), "next").apply()).done == 1
