"""The shop over databases that are emptied before each test."""

from collections.abc import AsyncIterator

import pytest
from tests.integration.engine.references.rows import empty
from tests.integration.engine.references.shop_application import SHOP, TOPOLOGY

from bulkhead.engine.connections.router import Router
from bulkhead.engine.system import System
from bulkhead.engine.testing import TestServers
from bulkhead.engine.topology import Topology


@pytest.fixture(scope="session")
async def shop(servers: TestServers) -> AsyncIterator[System]:
    async with servers.system(SHOP) as system:
        yield system


@pytest.fixture
async def router(shop: System) -> Router:
    await empty(shop.router)
    return shop.router


@pytest.fixture
def topology() -> Topology:
    return TOPOLOGY
