"""Suspend, resume, delete, restore, purge, export and clone, with deaths in between."""

import asyncio
import zipfile
from pathlib import Path
from uuid import UUID

import pytest
from mariadb_server import MariadbServer
from sqlalchemy import Column, MetaData, Table, Text, Uuid, func, insert, select
from tests.integration.engine.fleet.migrating import mysql_tenants

from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.connections.database import OpenDatabase
from bulkhead.engine.drivers.errors import DatabaseMissing
from bulkhead.engine.errors import BulkheadError
from bulkhead.engine.fleet.archive import ArchiveBroken, parse_rows, verify_archive
from bulkhead.engine.fleet.fleet import Fleet
from bulkhead.engine.fleet.lifecycle import CloneRefused, Lifecycle, TenantGone
from bulkhead.engine.fleet.model import TenantId, TenantState
from bulkhead.engine.fleet.refusal import TenantDeleted, TenantSuspended
from bulkhead.engine.fleet.registry import TenantUnknown, find_tenant, set_schema
from bulkhead.engine.ids import new_id
from bulkhead.engine.testing import TestFleet, TestServers, crash_at

TABLES = MetaData()
NOTES = Table(
    "notes",
    TABLES,
    Column("id", Uuid, primary_key=True, default=new_id),
    Column("owner", Uuid, nullable=False),
    Column("body", Text, nullable=False),
)
COUNT = select(func.count()).select_from(NOTES)
HOSTILE = ["", "\\N", 'say "hi", now', "line\nbreak", "tab\t;", "ünïcode 🦊", "\\"]


async def write(fleet: Fleet, tenant: TenantId, bodies: list[str]) -> None:
    async with fleet.transaction(tenant) as tx:
        rows = [{"id": new_id(), "owner": tenant, "body": body} for body in bodies]
        await tx.execute_many(insert(NOTES), rows)


async def count(fleet: Fleet, tenant: TenantId) -> int:
    rows = await fleet.query(tenant, COUNT)
    return int(next(iter(rows[0].values())))


async def state(made: TestFleet, tenant: TenantId) -> TenantState | None:
    async with made.registry.transaction(SERVICE, read_only=True) as tx:
        row = await find_tenant(tx, tenant)
    return row.state if row is not None else None


async def test_a_suspended_tenant_is_served_by_no_process_and_resumed_as_it_was(
    servers: TestServers, registry: OpenDatabase, tmp_path: Path
) -> None:
    async with servers.fleet(registry, tenants=2) as made:
        first, second = made.tenants
        deaf = Fleet("test", made.fleet.databases)
        await write(made.fleet, first, ["kept"])
        assert await count(deaf, first) == 1
        lifecycle = Lifecycle(made.fleet, tmp_path)
        assert (await lifecycle.suspend(first, "not paid")).state is TenantState.SUSPENDED
        await lifecycle.suspend(first, "not paid")
        with pytest.raises(TenantSuspended, match="not paid"):
            await count(made.fleet, first)
        with pytest.raises(BulkheadError):
            await count(deaf, first)  # Has not heard, and is kept out by the server.
        assert await count(made.fleet, second) == 0
        await lifecycle.resume(first)
        await lifecycle.resume(first)
        assert await count(made.fleet, first) == 1
        await deaf.close()


async def test_work_under_way_gets_a_moment_when_a_tenant_is_suspended(
    servers: TestServers, registry: OpenDatabase, tmp_path: Path
) -> None:
    async with servers.fleet(registry, tenants=1) as made:
        (tenant,) = made.tenants
        lifecycle = Lifecycle(made.fleet, tmp_path)
        begun = asyncio.Event()

        async def work() -> None:
            async with made.fleet.transaction(tenant) as tx:
                await tx.execute(insert(NOTES), {"owner": tenant, "body": "slow"})
                begun.set()
                await tx.execute("select pg_sleep(0.2)")

        task = asyncio.create_task(work())
        await begun.wait()
        await lifecycle.suspend(tenant, "moment", drain_s=5)
        await task
        await lifecycle.resume(tenant)
        assert await count(made.fleet, tenant) == 1


@pytest.mark.parametrize("point", ["closed_in_registry", "fenced"])
async def test_a_suspension_that_died_is_finished_by_the_next_one(
    servers: TestServers, registry: OpenDatabase, tmp_path: Path, point: str
) -> None:
    async with servers.fleet(registry, tenants=1) as made:
        (tenant,) = made.tenants
        lifecycle = Lifecycle(made.fleet, tmp_path)
        with crash_at(f"fleet.lifecycle:{point}"):
            await lifecycle.suspend(tenant, "died")
        await lifecycle.suspend(tenant, "again")
        await lifecycle.resume(tenant)
        assert await count(made.fleet, tenant) == 0


async def test_a_deleted_tenant_can_be_restored_until_its_time_is_over(
    servers: TestServers, registry: OpenDatabase, tmp_path: Path
) -> None:
    async with servers.fleet(registry, tenants=1) as made:
        (tenant,) = made.tenants
        lifecycle = Lifecycle(made.fleet, tmp_path)
        await write(made.fleet, tenant, ["kept"])
        deletion = await lifecycle.delete(tenant, reason="asked for")
        assert deletion.state == "waiting"
        assert await lifecycle.purge_due() == 0
        with pytest.raises(TenantDeleted):
            await count(made.fleet, tenant)
        assert [each.tenant for each in await lifecycle.list_deletions()] == [tenant]
        await lifecycle.restore(tenant)
        await lifecycle.restore(tenant)
        assert await count(made.fleet, tenant) == 1
        assert await lifecycle.list_deletions() == ()


@pytest.mark.parametrize("point", [None, "exported", "noted", "dropped"])
async def test_a_purge_exports_then_drops_wherever_it_died(
    servers: TestServers, registry: OpenDatabase, tmp_path: Path, point: str | None
) -> None:
    forgotten: list[TenantId] = []

    async def forget(tenant: TenantId) -> None:
        forgotten.append(tenant)

    async with servers.fleet(registry, tenants=1) as made:
        (tenant,) = made.tenants
        lifecycle = Lifecycle(made.fleet, tmp_path / "archives", forget=forget)
        await write(made.fleet, tenant, HOSTILE)
        await lifecycle.delete(tenant, grace_s=0)
        if point is not None:
            with crash_at(f"fleet.lifecycle:{point}"):
                await lifecycle.purge_due()
            assert await lifecycle.purge_due() == 0  # The dead one's lease.
            async with registry.transaction(SERVICE) as tx:
                await tx.execute("update bulkhead.fleet_deletions set leased_until = 'epoch'")
        assert await lifecycle.purge_due() == 1
        assert forgotten == [tenant]
        assert await state(made, tenant) is None
        with pytest.raises(TenantUnknown):
            await count(made.fleet, tenant)
        with pytest.raises(DatabaseMissing):
            async with made.administer(tenant):
                pass
        with pytest.raises(TenantGone):
            await lifecycle.restore(tenant)
        (path,) = (tmp_path / "archives").iterdir()
        manifest = verify_archive(path)
        assert (manifest.tenant, manifest.rows) == (str(tenant), len(HOSTILE))


async def test_every_flipped_byte_of_an_archive_is_found(
    servers: TestServers, registry: OpenDatabase, tmp_path: Path
) -> None:
    async with servers.fleet(registry, tenants=1) as made:
        (tenant,) = made.tenants
        await write(made.fleet, tenant, HOSTILE * 3)
        path = tmp_path / "one.zip"
        await Lifecycle(made.fleet, tmp_path).export(tenant, path)
        whole = path.read_bytes()
        assert path.stat().st_mode & 0o077 == 0
        table = verify_archive(path).tables[0]
        start = whole.index(table.file.encode()) + len(table.file) + 30
        for position in range(start, start + 120, 7):
            broken = bytearray(whole)
            broken[position] ^= 0x55
            path.write_bytes(broken)
            with pytest.raises(ArchiveBroken):
                verify_archive(path)


async def test_an_export_that_died_leaves_no_archive(
    servers: TestServers, registry: OpenDatabase, tmp_path: Path
) -> None:
    async with servers.fleet(registry, tenants=1) as made:
        lifecycle = Lifecycle(made.fleet, tmp_path)
        with crash_at("fleet.export:table_written"):
            await lifecycle.export(made.tenants[0], tmp_path / "one.zip")
        assert list(tmp_path.iterdir()) == []
        await lifecycle.export(made.tenants[0], tmp_path / "one.zip")


async def test_a_clone_has_the_rows_of_its_source_and_its_own_identity(
    servers: TestServers, registry: OpenDatabase, tmp_path: Path
) -> None:
    async with servers.fleet(registry, tenants=2) as made:
        source, target = made.tenants
        lifecycle = Lifecycle(made.fleet, tmp_path)
        await write(made.fleet, source, HOSTILE)
        await write(made.fleet, target, ["replaced"])
        with pytest.raises(CloneRefused, match="suspend"):
            await lifecycle.clone(source, target)
        await lifecycle.suspend(target, "cloning")
        for point in ("table_copied", "before_commit"):
            with crash_at(f"fleet.copying:{point}"):
                await lifecycle.clone(source, target)
        assert await lifecycle.clone(source, target) == len(HOSTILE)
        await lifecycle.resume(target)
        bodies = {row["body"] for row in await made.fleet.query(target, select(NOTES.c.body))}
        assert bodies == set(HOSTILE)
        rows = await made.fleet.query(target, "select tenant_id from _identity")
        assert [UUID(str(row["tenant_id"])) for row in rows] == [target]
        async with registry.transaction(SERVICE) as tx:
            await set_schema(tx, source, 2, None)
        await lifecycle.suspend(target, "again")
        with pytest.raises(CloneRefused, match="version"):
            await lifecycle.clone(source, target)


async def test_tenants_on_mariadb_are_suspended_cloned_exported_and_purged(
    servers: TestServers, registry: OpenDatabase, mariadb: MariadbServer, tmp_path: Path
) -> None:
    insert_note = "insert into notes (id, body, amount) values (%s, %s, %s)"
    async with servers.fleet(registry, tenants=0) as made, mysql_tenants(made, mariadb) as maria:
        source, target = await maria.add(version=1), await maria.add(version=1)
        lifecycle = Lifecycle(made.fleet, tmp_path / "archives")
        for number, body in enumerate(HOSTILE):
            await made.fleet.execute(source, insert_note, [str(number), body, number])
        await made.fleet.execute(target, insert_note, ["x", "replaced", 1])
        await lifecycle.suspend(target, "cloning")
        with pytest.raises(TenantSuspended):
            await made.fleet.query(target, "select 1")
        with crash_at("fleet.copying:before_commit"):
            await lifecycle.clone(source, target)
        assert await lifecycle.clone(source, target) == len(HOSTILE)
        await lifecycle.resume(target)
        rows = await made.fleet.query(target, "select body from notes order by id")
        assert [row["body"] for row in rows] == HOSTILE
        path = tmp_path / "one.zip"
        manifest = await lifecycle.export(source, path)
        assert verify_archive(path) == manifest
        with zipfile.ZipFile(path) as archive:
            text = archive.read(manifest.tables[0].file).decode()
        header, *lines = parse_rows(text)
        assert header == ["id", "body", "amount"]
        assert [line[1] for line in lines] == HOSTILE
        await lifecycle.delete(source, grace_s=0)
        assert await lifecycle.purge_due() == 1
        assert await state(made, source) is None
        with pytest.raises(DatabaseMissing):
            async with maria.administer(source):
                pass
        assert await lifecycle.purge_due() == 0
