"""Real databases for integration tests: one embedded server per session, clones per test."""

from collections.abc import AsyncIterator

import pytest

from bulkhead.engine.testing import TestServers, open_test_servers


@pytest.fixture(scope="session")
async def servers() -> AsyncIterator[TestServers]:
    async with open_test_servers() as servers:
        yield servers
