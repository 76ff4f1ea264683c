"""What the tests of the schema share: databases of the shop alone, each for one module."""

from collections.abc import AsyncIterator

import pytest
from tests.integration.apps.commerce.schema_shop import Caller, open_alone

from bulkhead.engine.testing import TestServers


@pytest.fixture(scope="module")
async def orders(servers: TestServers) -> AsyncIterator[Caller]:
    async with open_alone(servers, "orders") as orders:
        yield orders


@pytest.fixture(scope="module")
async def products(servers: TestServers) -> AsyncIterator[Caller]:
    async with open_alone(servers, "products") as products:
        yield products
