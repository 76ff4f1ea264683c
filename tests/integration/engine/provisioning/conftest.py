"""A registry, and a fleet on a server of each kind."""

import secrets
from collections.abc import AsyncIterator

import pytest
from mariadb_server import MariadbServer
from tests.integration.engine.fleet.conftest import PLATFORM
from tests.integration.engine.provisioning.workshop import Workshop, open_workshop

from bulkhead.engine.connections.database import OpenDatabase
from bulkhead.engine.drivers.endpoint import Endpoint, Tls
from bulkhead.engine.drivers.mysql import MysqlDriver
from bulkhead.engine.drivers.protocol import Driver
from bulkhead.engine.fleet.model import ServerKind
from bulkhead.engine.testing import TestServers


@pytest.fixture
async def registry(servers: TestServers) -> AsyncIterator[OpenDatabase]:
    async with servers.system(PLATFORM) as system:
        yield system.database("master")


@pytest.fixture
async def postgresql(registry: OpenDatabase, servers: TestServers) -> AsyncIterator[Workshop]:
    driver = await servers.driver("shared")
    async with open_workshop(registry, ServerKind.POSTGRESQL, driver) as workshop:
        yield workshop


@pytest.fixture(scope="session")
def mysql_driver(mariadb: MariadbServer) -> Driver:
    endpoint = Endpoint("127.0.0.1", mariadb.port, "root", mariadb.password, "", tls=Tls.DISABLE)
    return MysqlDriver(endpoint, secrets.token_bytes(32))


@pytest.fixture
async def mysql(registry: OpenDatabase, mysql_driver: Driver) -> AsyncIterator[Workshop]:
    async with open_workshop(registry, ServerKind.MYSQL, mysql_driver) as workshop:
        yield workshop


@pytest.fixture(params=["postgresql", "mysql"])
def workshop(request: pytest.FixtureRequest) -> Workshop:
    """The same on servers of both kinds."""
    found: Workshop = request.getfixturevalue(request.param)
    return found
