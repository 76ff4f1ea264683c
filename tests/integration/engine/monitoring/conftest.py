"""The shop of the references' tests, over databases that are emptied before each test."""

from collections.abc import AsyncIterator

import pytest
from tests.integration.engine.references.rows import empty
from tests.integration.engine.references.shop_application import SHOP

from bulkhead.engine.connections.router import Router
from bulkhead.engine.system import System
from bulkhead.engine.testing import TestServers


@pytest.fixture(scope="session")
async def watched(servers: TestServers) -> AsyncIterator[System]:
    async with servers.system(SHOP) as system:
        yield system


@pytest.fixture
async def system(watched: System) -> System:
    await empty(watched.router)
    return watched


@pytest.fixture
def router(system: System) -> Router:
    return system.router
