"""The registry of a fleet keeps connections sealed, and a rotation finds every one of them."""

from dataclasses import replace

from tests.integration.capabilities.vault.safe import Safe

from bulkhead.capabilities.vault.check_up import check_values
from bulkhead.capabilities.vault.rotation import reseal, rotate_master
from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.fleet.model import (
    ConnectionConfig,
    SecretText,
    ServerKind,
    TenantId,
    TenantPlace,
)
from bulkhead.engine.fleet.registry import (
    ServerEntry,
    add_server,
    add_tenant,
    get_server,
    get_tenant,
)
from bulkhead.engine.fleet.seals import JOBS, SEALED_COLUMNS, Seals
from bulkhead.engine.ids import new_id
from bulkhead.engine.monitoring.findings import Level

CONFIG = ConnectionConfig(
    ServerKind.POSTGRESQL, "db.example", 5432, "shop", "shop", SecretText("hunter2")
)


async def test_connections_in_the_registry_are_sealed_anew(safe: Safe) -> None:
    vault = safe.vault
    vault.columns = SEALED_COLUMNS
    seals = Seals(vault.name, vault)
    tenant, job = TenantId(new_id()), new_id()
    sealed = await seals.seal_connection(tenant, CONFIG)
    place = TenantPlace(ServerKind.POSTGRESQL, None, "shop", None, None, sealed)
    endpoint = replace(CONFIG, username="postgres")
    entry = ServerEntry(
        "east",
        ServerKind.POSTGRESQL,
        "db.example",
        capacity=10,
        sealed_endpoint=await seals.seal_endpoint("east", endpoint),
    )
    async with safe.system.database("master").transaction(SERVICE) as tx:
        await add_tenant(tx, tenant, "shops", place)
        await add_server(tx, entry)
    await safe.sql(
        f"insert into {JOBS} (id, tenant, fleet, mode, kind, label, request_hash, sealed_config)"
        " values ($1, $2, 'shops', 'connect', 'postgresql', 'Shop', 'x', $3)",
        job,
        tenant,
        await seals.seal_job(tenant, job, CONFIG),
    )

    await rotate_master(vault)
    for owner in (str(tenant), "server:east"):
        await vault.rotate_key(owner)
    assert await reseal(vault) == 3
    assert await reseal(vault) == 0
    findings = await check_values(vault)
    assert [each.level for each in findings] == [Level.OK] * 3

    fresh = Seals(vault.name, safe.again())
    async with safe.system.database("master").transaction(SERVICE) as tx:
        row, server = await get_tenant(tx, tenant), await get_server(tx, "east")
    assert row.generation > 1, "pools learn that the connection has changed"
    assert row.place.sealed_connection is not None
    assert server.sealed_endpoint is not None
    assert await fresh.open_connection(tenant, row.place.sealed_connection) == CONFIG
    assert await fresh.open_endpoint("east", server.sealed_endpoint) == endpoint
    [found] = await safe.sql(f"select sealed_config from {JOBS}")
    assert await fresh.open_job(tenant, job, found["sealed_config"]) == CONFIG


async def test_a_connection_is_not_sealed_with_a_key_that_another_process_has_destroyed(
    safe: Safe,
) -> None:
    """A job that is taken back destroys its tenant's keys, and may be begun again at once."""
    here = Seals(safe.vault.name, safe.again())
    tenant, job = TenantId(new_id()), new_id()
    for _ in range(2):
        elsewhere = Seals(safe.vault.name, safe.again())
        sealed = await here.seal_job(tenant, job, CONFIG)
        assert await elsewhere.open_job(tenant, job, sealed) == CONFIG
        sealed = await here.seal_connection(tenant, CONFIG)
        assert await elsewhere.open_connection(tenant, sealed) == CONFIG
        await safe.again().shred(str(tenant))
