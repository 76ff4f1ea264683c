"""A deleted tenant is restored, or taken over, while a process that purges it sleeps."""

import asyncio
from pathlib import Path

import pytest
from tests.integration.engine.fleet.stalled import DEADLINE_S, stalled
from tests.integration.engine.fleet.test_lifecycle import count, state, write

from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.connections.database import OpenDatabase
from bulkhead.engine.fleet import purge
from bulkhead.engine.fleet.archive import verify_archive
from bulkhead.engine.fleet.lifecycle import Lifecycle, TenantGone
from bulkhead.engine.fleet.model import ServerKind, TenantId, TenantPlace, TenantState
from bulkhead.engine.fleet.registry import add_tenant, get_tenant, set_state
from bulkhead.engine.testing import TestServers

LET_LEASES_END = "update bulkhead.fleet_deletions set leased_until = 'epoch'"
LEASED = "select max(leased_until) from bulkhead.fleet_deletions"


async def test_tenants_that_were_restored_meanwhile_are_kept(
    servers: TestServers,
    registry: OpenDatabase,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One is being exported when its lease ends, one has still waited for its turn."""
    monkeypatch.setattr(purge, "PURGES_AT_ONCE", 1)
    forgotten: list[TenantId] = []

    async def forget(tenant: TenantId) -> None:
        forgotten.append(tenant)

    async with servers.fleet(registry, tenants=2) as made:
        lifecycle = Lifecycle(made.fleet, tmp_path, forget=forget)
        for tenant in made.tenants:
            await write(made.fleet, tenant, ["kept"])
            await lifecycle.delete(tenant, grace_s=0)
        async with stalled("fleet.lifecycle:exported", lifecycle.purge_due()) as purging:
            for tenant in made.tenants:
                with pytest.raises(TenantGone):
                    await lifecycle.restore(tenant)
            async with registry.transaction(SERVICE) as tx:
                await tx.execute(LET_LEASES_END)
            for tenant in made.tenants:
                await lifecycle.restore(tenant)
        assert await purging == 0
        assert forgotten == []
        assert list(tmp_path.iterdir()) == []
        assert [await count(made.fleet, tenant) for tenant in made.tenants] == [1, 1]


@pytest.mark.parametrize("point", ["held", "exported", "noted", "dropped"])
async def test_who_wakes_when_another_process_has_purged_a_tenant_changes_nothing(
    servers: TestServers, registry: OpenDatabase, tmp_path: Path, point: str
) -> None:
    forgotten: list[TenantId] = []

    async def forget(tenant: TenantId) -> None:
        forgotten.append(tenant)

    async with servers.fleet(registry, tenants=1) as made:
        (tenant,) = made.tenants
        lifecycle = Lifecycle(made.fleet, tmp_path, forget=forget)
        await write(made.fleet, tenant, ["kept"])
        await lifecycle.delete(tenant, grace_s=0)
        async with stalled(f"fleet.lifecycle:{point}", lifecycle.purge_due()) as sleepy:
            async with registry.transaction(SERVICE) as tx:
                await tx.execute(LET_LEASES_END)
            assert await lifecycle.purge_due() == 1
        assert await sleepy == 0
        assert forgotten == [tenant]
        assert await state(made, tenant) is None
        deletion = await lifecycle.get_deletion(tenant)
        assert (deletion.state, deletion.error) == ("dropped", None)
        assert deletion.archive is not None
        assert verify_archive(Path(deletion.archive)).rows == 1
        assert list(tmp_path.iterdir()) == [Path(deletion.archive)]


async def test_who_wakes_late_drops_no_database_of_a_tenant_that_was_made_again(
    servers: TestServers, registry: OpenDatabase, tmp_path: Path
) -> None:
    async with servers.fleet(registry, tenants=1) as made:
        (tenant,) = made.tenants
        lifecycle = Lifecycle(made.fleet, tmp_path)
        async with registry.transaction(SERVICE, read_only=True) as tx:
            place = (await get_tenant(tx, tenant)).place
        await lifecycle.delete(tenant, grace_s=0)
        async with stalled("fleet.lifecycle:noted", lifecycle.purge_due()) as sleepy:
            async with registry.transaction(SERVICE) as tx:
                await tx.execute(LET_LEASES_END)
            assert await lifecycle.purge_due() == 1
            await made.drivers["shared"].ensure_database(made.specs[tenant])
            async with registry.transaction(SERVICE) as tx:
                await add_tenant(tx, tenant, "test", place)
        assert await sleepy == 0
        async with made.administer(tenant):
            pass  # It is there.


async def test_a_tenant_that_was_made_again_is_deleted_and_purged_again(
    servers: TestServers, registry: OpenDatabase, tmp_path: Path
) -> None:
    async with servers.fleet(registry, tenants=1) as made:
        (tenant,) = made.tenants
        lifecycle = Lifecycle(made.fleet, tmp_path)
        await write(made.fleet, tenant, ["kept"])
        await lifecycle.delete(tenant, grace_s=0)
        assert await lifecycle.purge_due() == 1
        first = (await lifecycle.get_deletion(tenant)).archive
        owned = TenantPlace(ServerKind.POSTGRESQL, None, "owned", None, None, None)
        async with registry.transaction(SERVICE) as tx:
            await add_tenant(tx, tenant, "test", owned)
            await set_state(tx, tenant, TenantState.ACTIVE, expected=[TenantState.PROVISIONING])
        assert (await lifecycle.delete(tenant)).state == "waiting"
        await lifecycle.restore(tenant)
        await lifecycle.delete(tenant, grace_s=0)
        assert await lifecycle.purge_due() == 1
        assert await state(made, tenant) is None
        assert first is not None
        assert verify_archive(Path(first)).rows == 1


async def test_a_long_purge_keeps_its_lease(
    servers: TestServers, registry: OpenDatabase, tmp_path: Path
) -> None:
    async with servers.fleet(registry, tenants=1) as made:
        (tenant,) = made.tenants
        await Lifecycle(made.fleet, tmp_path).delete(tenant, grace_s=0)
        slow = purge.Purger(made.fleet, tmp_path, lease_s=2.0)
        async with stalled("fleet.lifecycle:exported", slow.purge_due(1)) as purging:
            async with registry.transaction(SERVICE) as tx:
                before = await tx.fetchval(LEASED)
            after = before
            async with asyncio.timeout(DEADLINE_S):
                while after == before:
                    async with registry.transaction(SERVICE) as tx:
                        after = await tx.fetchval(LEASED)
        assert await purging == 1


async def test_purges_whose_process_is_stopped_are_gone_on_with_soon(
    servers: TestServers,
    registry: OpenDatabase,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One was exported, one has still waited for its turn."""
    monkeypatch.setattr(purge, "PURGES_AT_ONCE", 1)
    monkeypatch.setattr(purge, "SETTLED_S", 0.0)
    async with servers.fleet(registry, tenants=2) as made:
        lifecycle = Lifecycle(made.fleet, tmp_path)
        for tenant in made.tenants:
            await lifecycle.delete(tenant, grace_s=0)
        async with stalled("fleet.lifecycle:exported", lifecycle.purge_due()) as purging:
            purging.cancel()
            await asyncio.wait([purging])
        assert await lifecycle.purge_due() == 2
