"""What all clients of a session visit; each test brings its own customers."""

from collections.abc import AsyncIterator

import pytest
from tests.contract.clients.storefront import Storefront, open_storefronts

from bulkhead.engine.testing import TestServers, open_test_servers


@pytest.fixture(scope="package")
async def servers() -> AsyncIterator[TestServers]:
    async with open_test_servers() as servers:
        yield servers


@pytest.fixture(scope="package")
async def storefronts(
    servers: TestServers, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[tuple[Storefront, Storefront]]:
    async with open_storefronts(servers, tmp_path_factory.mktemp("home")) as storefronts:
        yield storefronts


@pytest.fixture(scope="package")
async def shop(storefronts: tuple[Storefront, Storefront]) -> Storefront:
    return storefronts[0]


@pytest.fixture(scope="package")
async def club(storefronts: tuple[Storefront, Storefront]) -> Storefront:
    """Another application of the same process."""
    return storefronts[1]
