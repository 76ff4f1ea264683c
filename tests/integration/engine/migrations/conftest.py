"""Empty databases for each test."""

from collections.abc import AsyncIterator

import pytest
from tests.integration.engine.empty_database import EmptyDatabase, MakeEmpty, open_empty_databases

from bulkhead.engine.testing import TestServers


@pytest.fixture
async def make_empty(servers: TestServers) -> AsyncIterator[MakeEmpty]:
    async with open_empty_databases(await servers.driver("shared")) as make:
        yield make


@pytest.fixture
async def empty(make_empty: MakeEmpty) -> EmptyDatabase:
    return await make_empty()
