"""Fleets are migrated in waves, stop when too much fails, and go on where they stopped."""

import asyncio

import pytest
from mariadb_server import MariadbServer
from tests.integration.engine.fleet.migrating import (
    MysqlTenants,
    migrations,
    mysql_tenants,
    note_version,
    tenant_row,
)
from tests.integration.waiting import BLOCKED

from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.connections.database import OpenDatabase
from bulkhead.engine.drivers.protocol import Login
from bulkhead.engine.fleet.fleet import Fleet
from bulkhead.engine.fleet.gate import WAIT_S, SchemaGate, TenantBehind
from bulkhead.engine.fleet.journal import MigrationHalfDone, StatementFailed
from bulkhead.engine.fleet.migrate import Due, FleetMigrator, Progress, RollOut
from bulkhead.engine.fleet.migrate_tenant import Aim, migrate_tenant
from bulkhead.engine.fleet.model import TenantId, TenantState
from bulkhead.engine.fleet.move import Mover
from bulkhead.engine.fleet.move_store import MoveRefused
from bulkhead.engine.fleet.mysql_catalogue import hash_catalogue
from bulkhead.engine.fleet.registry import set_state
from bulkhead.engine.migrations.plan import Direction
from bulkhead.engine.testing import TestFleet, TestServers, crash_at

LONG = "insert into notes (owner, body) values (gen_random_uuid(), 'much too long for it')"


async def versions(made: TestFleet) -> list[int]:
    return [(await tenant_row(made, tenant)).schema_version for tenant in made.tenants]


async def columns(made: TestFleet, tenant: TenantId) -> set[str]:
    async with made.administer(tenant) as admin:
        rows = await admin.fetch(
            "select column_name from information_schema.columns where table_name = 'notes'"
        )
    return {row["column_name"] for row in rows}


async def test_a_fleet_goes_up_and_down_and_a_run_without_work_is_one_query(
    servers: TestServers, registry: OpenDatabase
) -> None:
    async with servers.fleet(registry, tenants=7) as made:
        await note_version(made, 1)
        migrator = FleetMigrator(made.fleet.databases, migrations(2), "tester")
        seen: list[Progress] = []
        outcome = await migrator.apply(RollOut(canary=1, wave=4), tell=seen.append)
        assert (outcome.state, outcome.done, outcome.failed) == ("done", 7, 0)
        assert [(each.wave, each.done) for each in seen[:2]] == [(0, 1), (1, 2)]
        assert await versions(made) == [2] * 7
        assert "color" in await columns(made, made.tenants[3])
        again = await migrator.apply()
        assert (again.state, again.total) == ("done", 0)
        (share,) = await migrator.status()
        assert (share.version, share.tenants, share.failed) == (2, 7, 0)
        back = await migrator.roll_back(1)
        assert (back.state, back.done) == ("done", 7)
        assert "color" not in await columns(made, made.tenants[3])
        assert (await migrator.roll_back(1)).total == 0


async def test_canaries_that_fail_stop_the_run_and_the_others_stay_as_they_are(
    servers: TestServers, registry: OpenDatabase
) -> None:
    async with servers.fleet(registry, tenants=5) as made:
        await note_version(made, 1)
        first = min(made.tenants)
        await made.fleet.execute(first, LONG)
        migrator = FleetMigrator(made.fleet.databases, migrations(3), "tester")
        outcome = await migrator.apply(RollOut(canary=1, failures_max=3))
        assert (outcome.state, outcome.done, outcome.failed) == ("stopped", 0, 1)
        assert outcome.reason == "1 of those that went first failed"
        assert await versions(made) == [1] * 5
        (failure,) = await migrator.list_failed()
        assert (failure.tenant, failure.attempts) == (first, 1)
        assert failure.error["code"] == "migration_failed"
        await made.fleet.execute(first, "delete from notes")
        assert (await migrator.apply()).done == 5
        assert await migrator.list_failed() == ()


async def test_a_few_failures_are_borne_and_tried_again_by_the_next_run(
    servers: TestServers, registry: OpenDatabase
) -> None:
    async with servers.fleet(registry, tenants=8) as made:
        await note_version(made, 1)
        bad = sorted(made.tenants)[3:6]
        for tenant in bad:
            await made.fleet.execute(tenant, LONG)
        migrator = FleetMigrator(made.fleet.databases, migrations(3), "tester")
        outcome = await migrator.apply(RollOut(canary=2, wave=2, failures_max=3, parallel=2))
        assert (outcome.state, outcome.done, outcome.failed) == ("stopped", 5, 3)
        too_many = await migrator.apply(RollOut(canary=0, wave=1, failures_max=1))
        assert (too_many.state, too_many.failed) == ("stopped", 2)
        for tenant in bad:
            await made.fleet.execute(tenant, "delete from notes")
        assert (await migrator.apply(RollOut(tenants=(bad[0],)))).done == 1
        assert (await migrator.apply()).done == 2
        assert await versions(made) == [3] * 8


@pytest.mark.parametrize("point", ["claimed", "migrated", "noted"])
async def test_a_run_that_died_is_gone_on_with_by_the_next_process(
    servers: TestServers, registry: OpenDatabase, point: str
) -> None:
    async with servers.fleet(registry, tenants=5) as made:
        await note_version(made, 1)
        migrator = FleetMigrator(made.fleet.databases, migrations(2), "dying")
        with crash_at(f"fleet.migrate:{point}", after=1):
            await migrator.apply(RollOut(parallel=2))
        async with registry.transaction(SERVICE) as tx:
            await tx.execute("update bulkhead.fleet_migrations set leased_until = 'epoch'")
        after = FleetMigrator(made.fleet.databases, migrations(2), "next")
        assert (await after.apply()).state == "done"
        assert await versions(made) == [2] * 5
        async with registry.transaction(SERVICE) as tx:
            runs = await tx.fetch(
                "select state from bulkhead.fleet_migration_runs where fleet='test'"
            )
        assert [row["state"] for row in runs].count("running") == 0


async def test_several_processes_share_one_run(
    servers: TestServers, registry: OpenDatabase
) -> None:
    async with servers.fleet(registry, tenants=12) as made:
        await note_version(made, 1)
        outcomes = []

        async def work(name: str) -> None:
            migrator = FleetMigrator(made.fleet.databases, migrations(2), name)
            outcomes.append(await migrator.apply(RollOut(canary=1, wave=5)))

        async with asyncio.TaskGroup() as group:
            for number in range(3):
                group.create_task(work(f"process {number}"))
        assert sum(outcome.done for outcome in outcomes) == 12
        assert await versions(made) == [2] * 12


async def test_a_tenant_that_is_behind_is_migrated_once_by_the_first_who_asks(
    servers: TestServers, registry: OpenDatabase
) -> None:
    async with servers.fleet(registry, tenants=2) as made:
        await note_version(made, 1)
        first, second = made.tenants
        databases = made.fleet.databases
        gate = SchemaGate(databases, migrations(2), minimum=2, wait_s=60.0)
        fleet = Fleet("test", databases, gate=gate)
        async with asyncio.TaskGroup() as group:
            asked = [
                group.create_task(fleet.query(first, "select name from tags")) for _ in range(10)
            ]
        assert all(len(task.result()) == 2 for task in asked)
        assert (await tenant_row(made, first)).schema_version == 2
        await fleet.close()
        refusing = SchemaGate(databases, migrations(2), minimum=2, on_request=False)
        fleet = Fleet("test", databases, gate=refusing)
        with pytest.raises(TenantBehind, match="not been migrated"):
            await fleet.query(second, "select 1")
        bearing = SchemaGate(databases, migrations(2), minimum=1, on_request=False)
        fleet.gate = bearing
        assert await fleet.query(second, "select 1 as one") != []
        await fleet.close()


async def test_who_waits_too_long_for_a_migration_is_told_so_and_it_goes_on(
    servers: TestServers, registry: OpenDatabase
) -> None:
    async with servers.fleet(registry, tenants=1) as made:
        await note_version(made, 1)
        (tenant,) = made.tenants
        gate = SchemaGate(made.fleet.databases, migrations(2), minimum=2, wait_s=0.2)
        fleet = Fleet("test", made.fleet.databases, gate=gate)
        async with made.administer(tenant) as admin, admin.transaction():
            await admin.execute("lock table notes in access share mode")
            with pytest.raises(TenantBehind, match="at the moment"):
                await fleet.query(tenant, "select 1")
        await gate.close(drain_s=60)
        gate.wait_s = WAIT_S  # Whether there is anything left to do takes a look, too.
        assert len(await fleet.query(tenant, "select name from tags")) == 2
        await fleet.close()


async def test_a_tenant_whose_migration_fails_on_request_says_why(
    servers: TestServers, registry: OpenDatabase
) -> None:
    async with servers.fleet(registry, tenants=1) as made:
        await note_version(made, 1)
        (tenant,) = made.tenants
        await made.fleet.execute(tenant, LONG)
        gate = SchemaGate(made.fleet.databases, migrations(3), minimum=3, wait_s=60.0)
        fleet = Fleet("test", made.fleet.databases, gate=gate)
        for _ in range(2):
            with pytest.raises(TenantBehind, match="notes_body"):
                await fleet.query(tenant, "select 1")
        await fleet.close()


async def test_a_tenant_that_is_being_moved_is_neither_due_nor_migrated_on_request(
    servers: TestServers, registry: OpenDatabase
) -> None:
    async with servers.fleet(registry, tenants=2) as made:
        await note_version(made, 1)
        moved, closed = made.tenants
        migrator = FleetMigrator(made.fleet.databases, migrations(2), "tester")
        gate = SchemaGate(made.fleet.databases, migrations(2), minimum=2, wait_s=60.0)
        fleet = Fleet("test", made.fleet.databases, gate=gate)
        begin = """insert into bulkhead.fleet_moves
            (id, tenant, fleet, source, target, database, resume_state, deadline_at)
            values (gen_random_uuid(), $1, 'test', 'shared', 'second', 'x', 'active', now())"""
        async with registry.transaction(SERVICE) as tx:
            await tx.execute(begin, moved)
            await set_state(tx, closed, TenantState.SUSPENDED, expected=[TenantState.ACTIVE])
        due = await migrator.measure_due()
        assert (due.due, due.waiting) == (1, 1)
        assert [(each.tenant, each.step) for each in due.held] == [(moved, "started")]
        with pytest.raises(TenantBehind, match="being moved"):
            await fleet.query(moved, "select 1")
        assert (await migrator.apply()).done == 1
        assert await migrator.measure_due() == Due(due=0, waiting=1, held=due.held)
        assert "color" in await columns(made, closed)
        assert "color" not in await columns(made, moved)
        async with registry.transaction(SERVICE) as tx:
            await tx.execute("delete from bulkhead.fleet_moves where tenant = $1", moved)
        assert len(await fleet.query(moved, "select name from tags")) == 2
        assert await migrator.measure_due() == Due(due=0, waiting=0)
        await fleet.close()


MOVE_AT_ONCE = """
    create function bulkhead.move_at_once() returns trigger language plpgsql as $$
    begin
      insert into bulkhead.fleet_moves
        (id, tenant, fleet, source, target, database, resume_state, deadline_at)
      values (gen_random_uuid(), new.tenant, 'test', 'shared', 'second', 'x', 'active', now())
      on conflict do nothing;
      return new;
    end $$;
    create trigger move_at_once after insert on bulkhead.fleet_migrations
      for each row execute function bulkhead.move_at_once();
"""


async def test_a_move_that_begins_in_the_same_instant_keeps_the_tenant(
    servers: TestServers, registry: OpenDatabase
) -> None:
    async with servers.fleet(registry, tenants=2) as made:
        await note_version(made, 1)
        admin = await registry.driver.connect(registry.spec, Login.ADMIN, timeout_s=10)
        await admin.execute(MOVE_AT_ONCE)
        migrator = FleetMigrator(made.fleet.databases, migrations(2), "tester")
        assert (await migrator.apply()).done == 0
        assert await versions(made) == [1, 1]
        await admin.execute("drop function bulkhead.move_at_once() cascade")
        await admin.execute("delete from bulkhead.fleet_moves")
        await admin.close()
        assert (await migrator.apply()).done == 2


async def test_a_tenant_that_is_migrated_on_request_is_not_moved_meanwhile(
    servers: TestServers, registry: OpenDatabase
) -> None:
    async with servers.fleet(registry, tenants=1, on=("shared", "second")) as made:
        await note_version(made, 1)
        (tenant,) = made.tenants
        gate = SchemaGate(made.fleet.databases, migrations(2), minimum=2, wait_s=0.2)
        fleet = Fleet("test", made.fleet.databases, gate=gate)
        async with made.administer(tenant) as admin, admin.transaction():
            await admin.execute("lock table notes in access share mode")
            with pytest.raises(TenantBehind, match="at the moment"):
                await fleet.query(tenant, "select 1")
            while not await admin.fetchval(BLOCKED):
                """Until it is being migrated, however slow the machine."""
            with pytest.raises(TenantBehind, match="at the moment"):
                await Mover(fleet).start(tenant)
            with pytest.raises(MoveRefused, match="being migrated"):
                await Mover(made.fleet).start(tenant)
        await gate.close(drain_s=60)
        await fleet.close()


async def test_both_dialects_of_a_fleet_are_migrated_together(
    servers: TestServers, registry: OpenDatabase, mariadb: MariadbServer
) -> None:
    async with servers.fleet(registry, tenants=2) as made:
        await note_version(made, 1)
        async with mysql_tenants(made, mariadb) as maria:
            for _ in range(2):
                await maria.add(version=1)
            migrator = FleetMigrator(made.fleet.databases, migrations(3), "tester")
            outcome = await migrator.apply()
            assert (outcome.state, outcome.done) == ("done", 4)
            async with maria.administer(maria.tenants[0]) as admin:
                rows = await admin.fetch("select name from tags order by id", (), timeout_s=5)
            assert [row["name"] for row in rows] == ["50% off; it's today", "new"]
            assert (await migrator.roll_back(0)).done == 4
            async with maria.administer(maria.tenants[0]) as admin:
                rows = await admin.fetch("show tables", (), timeout_s=5)
            names = {next(iter(row.values())) for row in rows}
            assert names == {"_bulkhead", "_migrations", "_migration_statements"}


async def look(maria: MysqlTenants, tenant: TenantId) -> tuple[str, object]:
    async with maria.administer(tenant) as admin:
        rows = await admin.fetch("select * from notes", (), timeout_s=5)
        return await hash_catalogue(admin, timeout_s=5), [tuple(row.values()) for row in rows]


POINTS = ("before_note", "before_statement", "after_statement", "before_record", "recorded")


async def test_a_migration_of_mysql_killed_anywhere_comes_to_the_same_schema_and_rows(
    servers: TestServers, registry: OpenDatabase, mariadb: MariadbServer
) -> None:
    async with servers.fleet(registry, tenants=0) as made, mysql_tenants(made, mariadb) as maria:
        tenant = await maria.add(version=1)
        async with maria.administer(tenant) as admin:
            await admin.execute("insert into notes values ('a', 'x', 3)", (), timeout_s=5)

        async def go(direction: Direction, version: int) -> None:
            row = await tenant_row(made, tenant)
            await migrate_tenant(made.fleet.databases, row, migrations(2), Aim(direction, version))

        async def killed(direction: Direction, version: int, point: str, after: int) -> bool:
            try:
                with crash_at(f"fleet.journal:{point}", after=after):
                    await go(direction, version)
            except AssertionError:
                return False  # It was not reached.
            return True

        await go(Direction.UP, 1)
        low = await look(maria, tenant)
        await go(Direction.UP, 2)
        high = await look(maria, tenant)
        await go(Direction.DOWN, 1)
        assert await look(maria, tenant) == low != high
        tried = 0
        ways = ((Direction.UP, 2, high), (Direction.DOWN, 1, low))
        for point in POINTS:
            for after in range(9):
                before = tried
                for direction, version, end in ways:
                    # Up from what the last way down left, and down from what that left.
                    if await killed(direction, version, point, after):
                        tried += 1
                        await go(direction, version)
                    assert await look(maria, tenant) == end
                if tried == before:
                    break  # There are no more statements.
        assert tried > 50


async def test_a_half_done_migration_of_mysql_says_what_failed_and_goes_on_in_its_direction(
    servers: TestServers, registry: OpenDatabase, mariadb: MariadbServer
) -> None:
    async with servers.fleet(registry, tenants=0) as made, mysql_tenants(made, mariadb) as maria:
        tenant = await maria.add(version=1)
        row = await tenant_row(made, tenant)
        databases = made.fleet.databases
        await migrate_tenant(databases, row, migrations(2), Aim(Direction.UP, 2))
        async with maria.administer(tenant) as admin:
            await admin.execute(
                "insert into notes (id, body, amount) values ('a', 'much too long', 3)",
                (),
                timeout_s=5,
            )
        with pytest.raises(StatementFailed, match=r"line 1.*notes_body"):
            await migrate_tenant(databases, row, migrations(3), Aim(Direction.UP, 3))
        with pytest.raises(MigrationHalfDone):
            await migrate_tenant(databases, row, migrations(3), Aim(Direction.DOWN, 1))
        async with maria.administer(tenant) as admin:
            await admin.execute("delete from notes", (), timeout_s=5)
        await migrate_tenant(databases, row, migrations(3), Aim(Direction.UP, 3))
        await migrate_tenant(databases, row, migrations(3), Aim(Direction.DOWN, 0))


async def test_a_tenant_whose_database_is_gone_is_tried_three_times(
    servers: TestServers, registry: OpenDatabase
) -> None:
    async with servers.fleet(registry, tenants=2) as made:
        await note_version(made, 1)
        last = max(made.tenants)
        await made.drivers["shared"].drop_database(made.specs[last])
        migrator = FleetMigrator(made.fleet.databases, migrations(2), "tester")
        outcome = await migrator.apply(RollOut(canary=1, failures_max=1, retry_s=0.01))
        assert (outcome.done, outcome.failed) == (1, 1)
        (failure,) = await migrator.list_failed()
        assert failure.tenant == last
        assert failure.attempts == 3
