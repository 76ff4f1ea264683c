"""The library, once for all who only read its schema."""

from collections.abc import AsyncIterator

import pytest
from tests.integration.gateway.rest.library import Library, open_library

from bulkhead.engine.testing import TestServers
from bulkhead.gateway.rest.schema import Schema


@pytest.fixture(scope="package")
async def library(servers: TestServers) -> AsyncIterator[Library]:
    async with open_library(await servers.driver("shared"), "library") as library:
        yield library


@pytest.fixture(scope="package")
async def schema(library: Library) -> Schema:
    return await library.load()
