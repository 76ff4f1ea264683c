"""Servers of a fleet, each with a real PgBouncer in transaction mode in front."""

import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from pgbouncer_server import PgbouncerServer
from tests.integration.conftest import StartPgbouncer
from tests.integration.engine.drivers.pooled import pooled_driver
from tests.integration.engine.fleet.faults import (
    AWAY,
)
from tests.integration.engine.fleet.test_fleet import WHO
from tests.integration.engine.fleet.test_move import Writers, count, moving, where

from bulkhead.engine.connections.database import OpenDatabase
from bulkhead.engine.drivers.embedded import EmbeddedDriver
from bulkhead.engine.drivers.endpoint import Tls
from bulkhead.engine.drivers.errors import (
    PoolerInBetween,
    ServerUnreachable,
)
from bulkhead.engine.drivers.identity import IdentityMismatch
from bulkhead.engine.drivers.pooler import Pooling
from bulkhead.engine.drivers.protocol import Login
from bulkhead.engine.fleet.databases import manage_postgres
from bulkhead.engine.fleet.model import (
    ConnectionConfig,
    SecretText,
    ServerKind,
    TenantState,
)
from bulkhead.engine.fleet.move import Mover
from bulkhead.engine.fleet.move_store import MoveStep
from bulkhead.engine.fleet.server_check import verify_server
from bulkhead.engine.testing import TestFleet, TestServers


@asynccontextmanager
async def managed(
    made: TestFleet, start_pgbouncer: StartPgbouncer, **settings: object
) -> AsyncIterator[dict[str, PgbouncerServer]]:
    """Each server of the fleet has a pooler in front; its administrator goes past it."""
    poolers = {}
    before = dict(made.fleet.databases.drivers)
    for name, driver in before.items():
        assert isinstance(driver, EmbeddedDriver)
        poolers[name] = start_pgbouncer(driver._driver.endpoint, **settings)
        made.fleet.databases.drivers[name] = pooled_driver(driver, poolers[name].endpoint())
    for tenant in made.tenants:
        await made.fleet.drain(tenant, 1)
    try:
        yield poolers
    finally:
        made.fleet.databases.drivers.update(before)


async def test_managed_tenants_have_the_service_role_in_each_transaction(
    servers: TestServers, registry: OpenDatabase, start_pgbouncer: StartPgbouncer
) -> None:
    async with (
        servers.fleet(registry, tenants=3) as made,
        managed(made, start_pgbouncer, default_pool_size=1),
    ):
        for tenant in made.tenants * 2:
            (row,) = await made.fleet.query(tenant, "select current_user::text as role")
            assert row["role"] == "service_role"
            async with made.fleet.transaction(tenant) as tx:
                assert await tx.fetch_value(WHO) == tenant
                assert await tx.fetch_value("select current_user::text") == "service_role"
            async with made.administer(tenant) as admin:
                await admin.execute("update _identity set tenant_id = gen_random_uuid()")
                with pytest.raises(IdentityMismatch):
                    await made.fleet.query(tenant, WHO)
                await admin.execute("update _identity set tenant_id = $1", tenant)


async def test_a_server_of_the_registry_may_have_a_pooler(
    servers: TestServers, registry: OpenDatabase, start_pgbouncer: StartPgbouncer
) -> None:
    embedded = await servers.driver("shared")
    there = embedded._driver.endpoint
    pgbouncer = start_pgbouncer(there)
    config = ConnectionConfig(
        ServerKind.POSTGRESQL,
        "127.0.0.1",
        there.port,
        "postgres",
        there.user,
        SecretText(there.password),
        Tls.DISABLE,
        pooler=f"127.0.0.1:{pgbouncer.port}",
    )
    secret = embedded._driver._secret
    driver = manage_postgres(config, secret)
    assert (await verify_server(driver)).startswith("PostgreSQL 18")
    async with servers.fleet(registry, tenants=1) as made:
        (tenant,) = made.tenants
        assert (await driver.probe(made.specs[tenant])).pooling is Pooling.TRANSACTION
        made.fleet.databases.drivers["shared"] = driver
        assert (await made.fleet.query(tenant, WHO))[0]["tenant_id"] == tenant
        made.fleet.databases.drivers["shared"] = embedded
    with pytest.raises(PoolerInBetween):
        await verify_server(
            manage_postgres(replace(config, port=pgbouncer.port, pooler=None), secret)
        )
    pgbouncer.stop()
    with pytest.raises(ServerUnreachable):
        await verify_server(driver)


async def test_a_tenant_moves_from_one_pooled_server_to_another_under_writes(
    servers: TestServers, registry: OpenDatabase, start_pgbouncer: StartPgbouncer
) -> None:
    async with (
        moving(servers, registry) as (made, tenant),
        managed(made, start_pgbouncer, default_pool_size=2),
    ):
        mover = Mover(made.fleet)
        writers = Writers(made, tenant)
        async with writers.running():
            await mover.start(tenant, server="second")
            move = await mover.run(tenant)
            await writers.more(30)
        assert move.step is MoveStep.VERIFIED
        assert await where(made, tenant) == ("second", TenantState.ACTIVE)
        await writers.verify()
        assert await count(made, tenant) == 500
        await mover.confirm(tenant)
        await writers.verify()


async def test_a_database_that_was_dropped_and_made_again_is_a_new_one_for_the_pooler(
    servers: TestServers, registry: OpenDatabase, start_pgbouncer: StartPgbouncer
) -> None:
    async with (
        servers.fleet(registry, tenants=2) as made,
        managed(made, start_pgbouncer),
    ):
        tenant, other = made.tenants
        for each in made.tenants:
            await made.fleet.query(each, WHO)
        await made.fleet.drain(tenant, 1)
        await made.fleet.databases.drivers["shared"].drop_database(made.specs[tenant])
        await made.drivers["shared"].ensure_database(replace(made.specs[tenant], template=None))
        again = await made.fleet.databases.drivers["shared"].connect(
            made.specs[tenant], Login.SERVICE, timeout_s=5
        )
        assert await again.fetchval("select current_database()::text") == made.specs[tenant].name
        await again.close()
        with contextlib.suppress(*AWAY):
            await made.fleet.query(other, WHO)
        assert (await made.fleet.query(other, WHO))[0]["tenant_id"] == other
