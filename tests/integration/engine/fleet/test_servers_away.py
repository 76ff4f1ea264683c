"""Tenants are opened and closed while their server is away, which hears of it when it is back."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.connections.database import OpenDatabase
from bulkhead.engine.drivers.protocol import Login
from bulkhead.engine.errors import BulkheadError
from bulkhead.engine.fleet.lifecycle import Lifecycle
from bulkhead.engine.fleet.model import TenantId, TenantState
from bulkhead.engine.fleet.notices import ServerUntold
from bulkhead.engine.fleet.refusal import TenantDeleted, TenantSuspended
from bulkhead.engine.fleet.registry import get_tenant
from bulkhead.engine.testing import TestFleet, TestServers, crash_at

AWAY = "second"


@asynccontextmanager
async def away(servers: TestServers) -> AsyncIterator[None]:
    """The server `AWAY` does not answer inside the block."""
    driver = await servers.driver(AWAY)
    await driver.stop()
    try:
        yield
    finally:
        await driver.start()


async def state(made: TestFleet, tenant: TenantId) -> TenantState:
    async with made.registry.transaction(SERVICE, read_only=True) as tx:
        return (await get_tenant(tx, tenant)).state


async def admits(made: TestFleet, tenant: TenantId) -> bool:
    """Whether the server lets the tenant's login in."""
    spec = made.specs[tenant]
    async with made.administer(tenant) as admin:
        return bool(
            await admin.fetchval(
                "select has_database_privilege($1, $2, 'connect')",
                spec.login(Login.SERVICE),
                spec.name,
            )
        )


async def notices(made: TestFleet) -> list[str | None]:
    """What kept servers from being told, one line for each that has still to be."""
    async with made.registry.transaction(SERVICE, read_only=True) as tx:
        rows = await tx.fetch("select error ->> 'code' as code from bulkhead.fleet_notices")
    return [row["code"] for row in rows]


async def tell(lifecycle: Lifecycle) -> int:
    """What the job does, once it is time to."""
    async with lifecycle.fleet.databases.registry.transaction(SERVICE) as tx:
        await tx.execute("update bulkhead.fleet_notices set due_at = 'epoch'")
    return await lifecycle.tell_servers()


async def test_a_server_that_is_away_is_told_when_it_is_back(
    servers: TestServers, registry: OpenDatabase, tmp_path: Path
) -> None:
    async with servers.fleet(registry, tenants=1, on=(AWAY,)) as made:
        (tenant,) = made.tenants
        lifecycle = Lifecycle(made.fleet, tmp_path)
        async with away(servers):
            with pytest.raises(ServerUntold, match="is suspended here, but its server could not"):
                await lifecycle.suspend(tenant, "not paid")
            with pytest.raises(TenantSuspended, match="not paid"):
                await made.fleet.query(tenant, "select 1")
            assert await tell(lifecycle) == 0
            assert await notices(made) == ["server_unreachable"]
        assert await admits(made, tenant)
        assert await tell(lifecycle) == 1
        assert not await admits(made, tenant)
        assert await notices(made) == []
        async with away(servers):
            with pytest.raises(ServerUntold, match="is active here"):
                await lifecycle.resume(tenant)
            assert await state(made, tenant) is TenantState.ACTIVE
        assert await tell(lifecycle) == 1
        assert await made.fleet.query(tenant, "select 1 as one")


async def test_a_store_is_deleted_and_restored_while_its_server_is_away(
    servers: TestServers, registry: OpenDatabase, tmp_path: Path
) -> None:
    async with servers.fleet(registry, tenants=2, on=(AWAY,)) as made:
        tenant, other = made.tenants
        lifecycle = Lifecycle(made.fleet, tmp_path)
        async with away(servers):
            for each in made.tenants:
                with pytest.raises(ServerUntold, match="is deleting here"):
                    await lifecycle.delete(each, reason="asked for")
            assert (await lifecycle.get_deletion(tenant)).reason == "asked for"
            with pytest.raises(TenantDeleted):
                await made.fleet.query(tenant, "select 1")
            with pytest.raises(ServerUntold, match="is active here"):
                await lifecycle.restore(tenant)
        assert await tell(lifecycle) == 2
        assert [await admits(made, each) for each in (tenant, other)] == [True, False]
        assert await made.fleet.query(tenant, "select 1 as one")


async def test_a_server_that_is_away_keeps_only_its_own_from_being_dropped(
    servers: TestServers, registry: OpenDatabase, tmp_path: Path
) -> None:
    async with servers.fleet(registry, tenants=4, on=("shared", AWAY)) as made:
        lifecycle = Lifecycle(made.fleet, tmp_path)
        for tenant in made.tenants:
            await lifecycle.delete(tenant, grace_s=0)
        async with away(servers):
            assert await lifecycle.purge_due() == 2
        left = {each.tenant: each.error for each in await lifecycle.list_deletions()}
        assert list(left) == made.tenants[1::2]
        assert all(error and error["code"] == "server_unreachable" for error in left.values())
        async with registry.transaction(SERVICE) as tx:
            await tx.execute("update bulkhead.fleet_deletions set leased_until = 'epoch'")
        assert await lifecycle.purge_due() == 2
        assert await lifecycle.list_deletions() == ()


DEATHS = [
    ("suspend", "closed_in_registry"),
    ("suspend", "fenced"),
    ("suspend", "told"),
    ("resume", "opened_in_registry"),
    ("resume", "told"),
    ("delete", "closed_in_registry"),
    ("restore", "opened_in_registry"),
]


async def test_a_change_whose_process_died_reaches_the_server(
    servers: TestServers, registry: OpenDatabase, tmp_path: Path
) -> None:
    async with servers.fleet(registry, tenants=len(DEATHS)) as made:
        lifecycle = Lifecycle(made.fleet, tmp_path)
        for tenant, death in zip(made.tenants, DEATHS, strict=True):
            change, point = death
            if change == "resume":
                await lifecycle.suspend(tenant, "for a while")
            elif change == "restore":
                await lifecycle.delete(tenant)
            with crash_at(f"fleet.lifecycle:{point}"):
                if change == "suspend":
                    await lifecycle.suspend(tenant, "died")
                else:
                    await getattr(lifecycle, change)(tenant)
            assert await tell(lifecycle) == 1, death
            is_open = await state(made, tenant) is TenantState.ACTIVE
            assert is_open is (change in ("resume", "restore")), death
            assert await admits(made, tenant) is is_open, death
            assert await notices(made) == []


async def test_the_server_does_as_the_registry_says_whoever_comes_last(
    servers: TestServers, registry: OpenDatabase, tmp_path: Path
) -> None:
    async with servers.fleet(registry, tenants=1) as made:
        (tenant,) = made.tenants
        lifecycle = Lifecycle(made.fleet, tmp_path)
        for _ in range(5):
            async with asyncio.TaskGroup() as group:
                for number in range(4):
                    if number % 2:
                        group.create_task(lifecycle.suspend(tenant, "now"))
                    else:
                        group.create_task(lifecycle.resume(tenant))
            assert await admits(made, tenant) is (await state(made, tenant) is TenantState.ACTIVE)


async def test_a_tenant_that_never_was_is_not_told_of(
    servers: TestServers, registry: OpenDatabase, tmp_path: Path
) -> None:
    async with servers.fleet(registry, tenants=1) as made:
        lifecycle = Lifecycle(made.fleet, tmp_path)
        with pytest.raises(BulkheadError, match="There is no tenant"):
            await lifecycle.get_deletion(made.tenants[0])
        assert await tell(lifecycle) == 0
