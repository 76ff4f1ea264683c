"""Shops on databases of their own: all three on one server, or each on its own."""

from collections.abc import AsyncIterator

import pytest
from tests.scenarios.books import INVARIANTS, verify_books
from tests.scenarios.market import Market, open_market

from bulkhead.engine.testing import TestServers, open_test_servers


@pytest.fixture(scope="session")
async def servers() -> AsyncIterator[TestServers]:
    async with open_test_servers() as servers:
        yield servers


@pytest.fixture(scope="module", params=["one server", "a server each"])
async def market(
    servers: TestServers,
    tmp_path_factory: pytest.TempPathFactory,
    request: pytest.FixtureRequest,
) -> AsyncIterator[Market]:
    """Shared by the tests of a file: each brings its own customers and goods."""
    apart = request.param == "a server each"
    home = tmp_path_factory.mktemp("home")
    async with open_market(servers, home, apart=apart) as market:
        yield market
        await verify_books(market, invariants=INVARIANTS)
