"""A database of each dialect."""

from collections.abc import AsyncIterator

import pytest
from mariadb_server import MariadbServer
from tests.integration.engine.extract.subject import Subject, open_mysql, open_postgresql

from bulkhead.engine.testing import TestServers


@pytest.fixture(scope="module")
async def postgresql(servers: TestServers) -> AsyncIterator[Subject]:
    async with open_postgresql(servers) as subject:
        yield subject


@pytest.fixture(scope="module")
async def mysql(mariadb: MariadbServer) -> AsyncIterator[Subject]:
    async with open_mysql(mariadb) as subject:
        yield subject


@pytest.fixture(params=["postgresql", "mysql"], scope="module")
def subject(request: pytest.FixtureRequest) -> Subject:
    found: Subject = request.getfixturevalue(request.param)
    return found
