"""A store's database on each kind of server: ours, one without our roles, MariaDB."""

from collections.abc import AsyncIterator

import pytest
from mariadb_server import MariadbServer
from tests.integration.engine.extract.subject import (
    Subject,
    open_mysql,
    open_plain_postgresql,
    open_postgresql,
)

from bulkhead.engine.testing import TestServers


@pytest.fixture(scope="module")
async def postgresql(servers: TestServers) -> AsyncIterator[Subject]:
    async with open_postgresql(servers) as subject:
        yield subject


@pytest.fixture(scope="module")
async def plain_postgresql(servers: TestServers) -> AsyncIterator[Subject]:
    async with open_plain_postgresql(servers) as subject:
        yield subject


@pytest.fixture(scope="module")
async def mysql(mariadb: MariadbServer) -> AsyncIterator[Subject]:
    async with open_mysql(mariadb) as subject:
        yield subject


@pytest.fixture(params=["postgresql", "plain_postgresql", "mysql"], scope="module")
def subject(request: pytest.FixtureRequest) -> Subject:
    found: Subject = request.getfixturevalue(request.param)
    return found
