"""What a fleet allows its statements is what every server allows them, whoever runs it."""

import pytest
from tests.integration.conftest import StartPgbouncer
from tests.integration.engine.drivers.pooled import upstream
from tests.integration.engine.fleet.conftest import AddTenant
from tests.integration.engine.fleet.faults import give_login, login_config, save
from tests.integration.engine.fleet.test_fleet_pooled import owned

from bulkhead.engine.connections.database import OpenDatabase
from bulkhead.engine.drivers.errors import StatementTimeout
from bulkhead.engine.fleet.limits import FleetLimits
from bulkhead.engine.fleet.model import TenantId
from bulkhead.engine.testing import TestFleet, TestServers

# The process itself would wait for half a minute.
SHORT = FleetLimits(statement_timeout_s=0.2, answer_slack_s=30)
LONG = FleetLimits(statement_timeout_s=9.5)
SLEEP = {"postgresql": "select pg_sleep(5)", "mysql": "select sleep(5) from _identity"}
SHOW = "select current_setting('statement_timeout') as value"


async def verify_stopped(made: TestFleet, tenant: TenantId, dialect: str = "postgresql") -> None:
    """The first statement, and one after a transaction, which wipes its session."""
    for _ in range(2):
        with pytest.raises(StatementTimeout):
            await made.fleet.query(tenant, SLEEP[dialect])
        async with made.fleet.transaction(tenant) as tx:
            await tx.fetch("select 1 as one")


async def test_each_server_stops_what_takes_longer_than_the_fleet_allows(
    servers: TestServers, registry: OpenDatabase, add_mariadb_tenant: AddTenant
) -> None:
    async with servers.fleet(registry, tenants=2, limits=SHORT) as made:
        managed, outside = made.tenants
        password = await give_login(made, outside, "limited")
        await save(made, outside, login_config(made, outside, "limited", password))
        maria = await add_mariadb_tenant(made)
        await verify_stopped(made, managed)
        await verify_stopped(made, outside)
        await verify_stopped(made, maria, "mysql")


async def test_behind_a_pooler_each_transaction_is_told(
    servers: TestServers, registry: OpenDatabase, start_pgbouncer: StartPgbouncer
) -> None:
    pgbouncer = start_pgbouncer(await upstream(servers), default_pool_size=1)
    async with owned(servers, registry, pgbouncer, limits=SHORT) as made:
        await verify_stopped(made, made.tenants[0])


async def test_a_fleet_may_allow_more_than_the_roles_do(
    servers: TestServers, registry: OpenDatabase
) -> None:
    async with servers.fleet(registry, tenants=1, limits=LONG) as made:
        (tenant,) = made.tenants
        assert (await made.fleet.query(tenant, SHOW))[0]["value"] == "9500ms"
        async with made.fleet.transaction(tenant) as tx:
            assert (await tx.fetch(SHOW))[0]["value"] == "9500ms"
        assert (await made.fleet.query(tenant, SHOW))[0]["value"] == "9500ms"
