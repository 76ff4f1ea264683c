"""Tenants that are moved while their schema is older than the code bears."""

from dataclasses import replace
from pathlib import Path

import pytest
from tests.integration.engine.fleet.migrating import POSTGRESQL, note_version, tenant_row
from tests.integration.engine.fleet.stalled import stalled
from tests.integration.engine.fleet.test_move import Writers, count, moving, where

from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.connections.database import OpenDatabase
from bulkhead.engine.drivers.protocol import Dialect, Login
from bulkhead.engine.fleet.fleet import Fleet
from bulkhead.engine.fleet.gate import SchemaGate, TenantBehind
from bulkhead.engine.fleet.lifecycle import Lifecycle
from bulkhead.engine.fleet.migrate_tenant import FleetMigrations
from bulkhead.engine.fleet.model import TenantId, TenantState
from bulkhead.engine.fleet.move import Mover
from bulkhead.engine.fleet.move_steps import POINTS
from bulkhead.engine.fleet.move_store import MoveRefused, MoveStep
from bulkhead.engine.fleet.move_upgrade import UPGRADE_POINTS
from bulkhead.engine.migrations.files import build_set, parse_migration
from bulkhead.engine.testing import TestFleet, TestServers, crash_at

COLORS = "select count(*) as count from notes where color = 'red'"
NUMBERED = "insert into public.counted (word) values ('migrated');\n-- migrate:down"
"""Takes a number that the old database has to take as well."""
MIGRATIONS = FleetMigrations(
    "test",
    {
        Dialect.POSTGRESQL: build_set(
            "test",
            [
                parse_migration("test", "0001_step.sql", POSTGRESQL[0]),
                parse_migration(
                    "test", "0002_step.sql", POSTGRESQL[1].replace("-- migrate:down", NUMBERED)
                ),
            ],
        )
    },
)
STEPS = MIGRATIONS.sets[Dialect.POSTGRESQL].migrations
LATER = parse_migration(
    "test",
    "0003_step.sql",
    "create table public.later (id integer primary key);\n"
    "-- migrate:down\ndrop table public.later;",
)
NEXT = FleetMigrations("test", {Dialect.POSTGRESQL: build_set("test", [*STEPS, LATER])})
TAGS = "select count(*) as count from tags"


def newer(made: TestFleet) -> Fleet:
    """The fleet as the next release has it, whose code needs version 2."""
    gate = SchemaGate(made.fleet.databases, MIGRATIONS, minimum=2)
    return Fleet("test", made.fleet.databases, gate=gate)


async def verify_served(made: TestFleet, fleet: Fleet, tenant: TenantId) -> None:
    """At its new place, with all its rows, under the new schema."""
    [row] = await fleet.query(tenant, COLORS)
    assert row["count"] == 500
    assert (await tenant_row(made, tenant)).schema_version == 2
    assert await where(made, tenant) == ("second", TenantState.ACTIVE)


async def verify_returned(made: TestFleet, fleet: Fleet, tenant: TenantId) -> None:
    """The same, at its old place."""
    [row] = await fleet.query(tenant, COLORS)
    assert row["count"] == 500
    assert (await tenant_row(made, tenant)).schema_version == 2
    assert await where(made, tenant) == ("shared", TenantState.ACTIVE)


async def arrived(made: TestFleet, tenant: TenantId) -> None:
    """The tenant has been moved by the release before, and nobody has confirmed that."""
    await note_version(made, 1)
    await Mover(made.fleet).start(tenant)
    await Mover(made.fleet).run(tenant)


def both_releases(made: TestFleet, fleet: Fleet, tenant: TenantId) -> tuple[Writers, Writers]:
    """Processes of the release before, which write until they are kept out, and of the next one."""
    old = Writers(made, tenant)
    return old, Writers(replace(made, fleet=fleet), tenant, old.written)


async def test_a_tenant_that_is_behind_is_migrated_before_it_moves(
    servers: TestServers, registry: OpenDatabase
) -> None:
    async with moving(servers, registry) as (made, tenant):
        await note_version(made, 1)
        fleet = newer(made)
        await Mover(fleet).start(tenant)
        assert (await tenant_row(made, tenant)).schema_version == 2
        [row] = await fleet.query(tenant, COLORS)  # While it moves.
        assert row["count"] == 500
        assert (await Mover(fleet).run(tenant)).step is MoveStep.VERIFIED
        await verify_served(made, fleet, tenant)
        await Mover(fleet).confirm(tenant)
        await fleet.close()


@pytest.mark.parametrize(("point", "tended"), [("published", False), ("slot_made", True)])
async def test_a_move_that_an_upgrade_interrupts_is_begun_anew_with_the_new_schema(
    servers: TestServers, registry: OpenDatabase, point: str, *, tended: bool
) -> None:
    async with moving(servers, registry) as (made, tenant):
        await note_version(made, 1)
        with crash_at(POINTS[point]):
            await Mover(made.fleet).start(tenant, server="second")
            await Mover(made.fleet).run(tenant)
        fleet = newer(made)
        with pytest.raises(TenantBehind, match="as soon as the move has made way"):
            await fleet.query(tenant, COLORS)
        if tended:
            await Mover(fleet).tend()
        assert (await Mover(fleet).run(tenant)).step is MoveStep.VERIFIED
        await verify_served(made, fleet, tenant)
        await Mover(fleet).revert(tenant)
        assert await where(made, tenant) == ("shared", TenantState.ACTIVE)
        assert await count(made, tenant) == 500
        await fleet.close()


async def test_a_tenant_that_has_arrived_is_migrated_on_both_sides(
    servers: TestServers, registry: OpenDatabase
) -> None:
    async with moving(servers, registry) as (made, tenant):
        await arrived(made, tenant)
        fleet = newer(made)
        old, new = both_releases(made, fleet, tenant)
        async with old.running(), new.running():
            await old.more(20)
            assert await Mover(fleet).tend() == 0
            assert (await Mover(fleet).get(tenant)).step is MoveStep.VERIFIED
            await verify_served(made, fleet, tenant)
            await fleet.execute(tenant, "insert into tags values (3, 'since')")
            await new.more(20)
            await Mover(fleet).revert(tenant)
        await new.verify()
        await verify_returned(made, fleet, tenant)
        assert [dict(row) for row in await fleet.query(tenant, TAGS)] == [{"count": 3}]
        await fleet.close()


@pytest.mark.parametrize(
    ("point", "tended"),
    [
        (UPGRADE_POINTS["closed"], True),
        (UPGRADE_POINTS["unfollowed"], False),
        (UPGRADE_POINTS["target_migrated"], False),
        (UPGRADE_POINTS["source_migrated"], True),
        (UPGRADE_POINTS["slot_made"], True),
        (POINTS["followed_back"], False),
    ],
)
async def test_migrating_both_sides_can_die_too(
    servers: TestServers, registry: OpenDatabase, point: str, *, tended: bool
) -> None:
    async with moving(servers, registry) as (made, tenant):
        await arrived(made, tenant)
        fleet = newer(made)
        old, new = both_releases(made, fleet, tenant)
        async with old.running(), new.running():
            await old.more(20)
            with crash_at(point):
                await Mover(fleet).tend()
            if tended:
                await Mover(fleet).tend()
                await verify_served(made, fleet, tenant)
                await new.more(20)
            await Mover(fleet).revert(tenant)
        await new.verify()
        await verify_returned(made, fleet, tenant)
        await fleet.close()


async def test_a_suspended_tenant_that_has_arrived_waits_for_what_becomes_of_the_move(
    servers: TestServers, registry: OpenDatabase, tmp_path: Path
) -> None:
    async with moving(servers, registry) as (made, tenant):
        await arrived(made, tenant)
        fleet, lifecycle = newer(made), Lifecycle(made.fleet, tmp_path)
        await lifecycle.suspend(tenant, "unpaid")
        await Mover(fleet).tend()
        row = await tenant_row(made, tenant)
        assert (row.schema_version, row.reason) == (1, "unpaid")
        await lifecycle.resume(tenant)
        await Mover(fleet).tend()
        await verify_served(made, fleet, tenant)
        await Mover(fleet).revert(tenant)
        await verify_returned(made, fleet, tenant)
        await fleet.close()


async def test_a_tenant_that_is_suspended_just_before_both_sides_are_migrated_keeps_its_way_back(
    servers: TestServers, registry: OpenDatabase, tmp_path: Path
) -> None:
    async with moving(servers, registry) as (made, tenant):
        await arrived(made, tenant)
        fleet = newer(made)
        async with stalled(UPGRADE_POINTS["caught_up"], Mover(fleet).tend()) as tending:
            await Lifecycle(made.fleet, tmp_path).suspend(tenant, "unpaid")
        assert await tending == 0
        move = await Mover(fleet).get(tenant)
        assert (move.step, move.alarmed_at) == (MoveStep.VERIFIED, None)
        await Mover(fleet).revert(tenant)
        assert await where(made, tenant) == ("shared", TenantState.SUSPENDED)
        await fleet.close()


async def test_whoever_slept_while_both_sides_were_migrated_gives_no_way_back_up(
    servers: TestServers, registry: OpenDatabase
) -> None:
    async with moving(servers, registry) as (made, tenant):
        await arrived(made, tenant)
        fleet = newer(made)
        async with stalled(UPGRADE_POINTS["slot_made"], Mover(fleet).tend()) as sleepy:
            async with registry.transaction(SERVICE) as tx:
                await tx.execute("update bulkhead.fleet_moves set leased_until = 'epoch'")
            await Mover(fleet).tend()
        assert await sleepy == 0
        assert (await Mover(fleet).get(tenant)).alarmed_at is None
        await Mover(fleet).revert(tenant)
        await verify_returned(made, fleet, tenant)
        await fleet.close()


async def test_another_upgrade_meets_both_sides_before_they_were_compared(
    servers: TestServers, registry: OpenDatabase
) -> None:
    async with moving(servers, registry) as (made, tenant):
        await arrived(made, tenant)
        with crash_at(POINTS["followed_back"]):
            await Mover(newer(made)).tend()
        fleet = Fleet("test", made.fleet.databases, gate=SchemaGate(made.fleet.databases, NEXT, 3))
        await Mover(fleet).tend()
        assert (await tenant_row(made, tenant)).schema_version == 3
        await Mover(fleet).revert(tenant)
        assert await where(made, tenant) == ("shared", TenantState.ACTIVE)
        assert await count(made, tenant) == 500
        await fleet.close()


@pytest.mark.parametrize("reason", ["differs", "refused"])
async def test_a_migration_that_does_not_do_the_same_to_both_sides_ends_the_way_back(
    servers: TestServers, registry: OpenDatabase, reason: str
) -> None:
    async with moving(servers, registry) as (made, tenant):
        await arrived(made, tenant)
        driver, spec = made.drivers["shared"], made.specs[tenant]
        admin = await driver.connect(spec, Login.ADMIN, timeout_s=10)
        if reason == "differs":
            await admin.execute("delete from public.notes where body = 'note 7'")
        else:
            await admin.execute("create table public.tags (id integer)")
        await admin.close()
        fleet = newer(made)
        for _ in range(2):  # The second finds that it was given up.
            await Mover(fleet).tend()
        await verify_served(made, fleet, tenant)
        with pytest.raises(MoveRefused, match="follow"):
            await Mover(fleet).revert(tenant)
        await Mover(fleet).confirm(tenant)
        await verify_served(made, fleet, tenant)
        await fleet.close()
