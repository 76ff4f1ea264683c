"""Each role has connections of its own."""

from contextlib import AsyncExitStack

import pytest
from tests.integration.engine.connections.test_scope import ADA, NOTES

from bulkhead.engine.connections.claims import ANON, SERVICE
from bulkhead.engine.connections.pool import PoolExhausted
from bulkhead.engine.settings import Settings
from bulkhead.engine.testing import TestServers

POOL_SIZE = 2


async def test_a_flood_of_visitors_leaves_users_and_the_service_their_connections(
    servers: TestServers,
) -> None:
    settings = Settings(home=servers.home, pool_size=POOL_SIZE)
    async with servers.system(NOTES, settings) as system, AsyncExitStack() as flood:
        notes = system.database("notes")
        for _ in range(POOL_SIZE):
            await flood.enter_async_context(notes.transaction(ANON, read_only=True))
        notes.visitors.acquire_timeout_s = 0.05
        with pytest.raises(PoolExhausted):
            await flood.enter_async_context(notes.transaction(ANON, read_only=True))
        for claims in (ADA, SERVICE):
            async with notes.transaction(claims, read_only=True) as tx:
                assert await tx.fetchval("select current_user") == claims.role
        in_use = {name: pool.stats.in_use for name, pool in notes.pools.items()}
        assert in_use == {"visitor": POOL_SIZE, "client": 0, "service": 0}
