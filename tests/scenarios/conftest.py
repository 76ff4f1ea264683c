"""Shops on databases of their own: all three on one server, or each on its own."""

from collections.abc import AsyncIterator
from zlib import crc32

import pytest
from tests.scenarios.books import INVARIANTS, verify_books
from tests.scenarios.effort import THOROUGH
from tests.scenarios.market import Market, open_market

from bulkhead.engine.testing import TestServers, open_test_servers

PLACEMENTS = ["one server", "a server each"]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Let processes die at each point in one of the placements, unless everything is tried."""
    if not THOROUGH:
        dropped = {item for item in items if _is_of_the_other_placement(item)}
        config.hook.pytest_deselected(items=[*dropped])
        items[:] = [item for item in items if item not in dropped]


def _is_of_the_other_placement(item: pytest.Item) -> bool:
    call = getattr(item, "callspec", None)
    if call is None or not {"market", "point"} <= set(call.params):
        return False
    others = sorted(f"{name} {value}" for name, value in call.params.items() if name != "market")
    drawn = crc32(f"{item.name.partition('[')[0]} {others}".encode()) % 2
    return bool(call.params["market"] != PLACEMENTS[drawn])


@pytest.fixture(scope="session")
async def servers() -> AsyncIterator[TestServers]:
    async with open_test_servers() as servers:
        yield servers


@pytest.fixture(scope="module", params=PLACEMENTS)
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
