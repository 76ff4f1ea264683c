"""Empty databases for each test, and one with guarded tables."""

from collections.abc import AsyncIterator

import pytest
from tests.integration.engine.empty_database import EmptyDatabase, MakeEmpty, open_empty_databases
from tests.integration.engine.schema.guarded import MIGRATIONS

from bulkhead.engine.migrations.apply import apply
from bulkhead.engine.testing import TestServers


@pytest.fixture
async def make_empty(servers: TestServers) -> AsyncIterator[MakeEmpty]:
    async with open_empty_databases(await servers.driver("shared")) as make:
        yield make


@pytest.fixture
async def guarded(make_empty: MakeEmpty) -> EmptyDatabase:
    database = await make_empty()
    await apply(database.connection, database.spec, [MIGRATIONS])
    return database
