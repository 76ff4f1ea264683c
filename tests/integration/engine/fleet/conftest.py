"""An application whose only database holds the registry of a fleet."""

import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from mariadb_server import MariadbServer
from tests.integration.engine.drivers.subject import fresh_name

from bulkhead.engine.application import Application
from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.connections.database import OpenDatabase
from bulkhead.engine.drivers.mysql import MysqlDriver
from bulkhead.engine.drivers.protocol import DatabaseSpec, Login
from bulkhead.engine.fleet.model import ServerKind, TenantId, TenantPlace, TenantState
from bulkhead.engine.fleet.registry import ServerEntry, add_server, add_tenant, set_state
from bulkhead.engine.ids import new_id
from bulkhead.engine.testing import TestFleet, TestServers
from bulkhead.engine.topology import Database, Table, Topology

MASTER = Database("master", (Table("owners"),), Path(__file__).parent / "master")
IDENTITY = "create table _identity (tenant_id char(36) primary key)"
NOTES = """
create table notes (
  id char(36) primary key,
  owner char(36) not null,
  body text not null,
  price decimal(12, 2),
  details json
)
"""
PLATFORM = Application("platform", "Platform", Topology("platform", (MASTER,)))


@pytest.fixture
async def registry(servers: TestServers) -> AsyncIterator[OpenDatabase]:
    async with servers.system(PLATFORM) as system:
        yield system.database("master")


AddTenant = Callable[[TestFleet], Awaitable[TenantId]]


@pytest.fixture
async def add_mariadb_tenant(mariadb: MariadbServer) -> AsyncIterator[AddTenant]:
    """Adds a tenant whose database is on MariaDB to a fleet; all are dropped afterwards."""
    url = f"mysql://root:{mariadb.password}@127.0.0.1:{mariadb.port}/"
    driver = MysqlDriver(url, secrets.token_bytes(32))
    specs: list[DatabaseSpec] = []

    async def add(made: TestFleet) -> TenantId:
        tenant, spec = TenantId(new_id()), DatabaseSpec(fresh_name())
        specs.append(spec)
        await driver.ensure_database(spec)
        admin = await driver.connect(spec, Login.ADMIN, timeout_s=10)
        for statement in (IDENTITY, NOTES):
            await admin.execute(statement, (), timeout_s=10)
        await admin.execute("insert into _identity values (%s)", (tenant,), timeout_s=10)
        admin.terminate()
        made.fleet.databases.drivers["mariadb"] = driver
        entry = ServerEntry("mariadb", ServerKind.MYSQL, driver.server, 100, connections_max=4)
        place = TenantPlace(ServerKind.MYSQL, "mariadb", spec.name, None, None, None)
        async with made.registry.transaction(SERVICE) as tx:
            await add_server(tx, entry)
            await add_tenant(tx, tenant, "test", place)
            await set_state(tx, tenant, TenantState.ACTIVE, expected=[TenantState.PROVISIONING])
        return tenant

    yield add
    for spec in specs:
        await driver.drop_database(spec)
