from collections.abc import AsyncIterator

import pytest
from tests.integration.engine.messaging.parcels_application import (
    Handlers,
    confirmed,
    count,
    count_up,
    parcels_application,
    received,
    waiting,
)

from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.system import System
from bulkhead.engine.testing import TestServers


@pytest.fixture
def handlers() -> Handlers:
    return Handlers()


@pytest.fixture
async def system(servers: TestServers, handlers: Handlers) -> AsyncIterator[System]:
    async with servers.system(parcels_application(handlers)) as system:
        yield system


async def test_an_event_reaches_every_handler_once(system: System) -> None:
    await count_up(system, "a", 3)
    await system.relay.drain()
    assert await received(system) == {"a": [1, 2, 3]}
    assert await received(system, "mirror") == {"a": [1, 2, 3]}
    assert await waiting(system) == {}


async def test_a_handler_publishes_in_its_own_transaction(system: System) -> None:
    await count_up(system, "a", 3)
    await system.relay.drain()
    assert await confirmed(system) == {"a": 3}


async def test_a_rolled_back_transaction_publishes_nothing(system: System) -> None:
    with pytest.raises(ZeroDivisionError):
        async with system.database("origin").transaction(SERVICE) as tx:
            await count(tx, "ghost")
            raise ZeroDivisionError
    await system.relay.drain()
    assert await received(system) == {}
    async with system.database("origin").transaction(SERVICE) as tx:
        assert await tx.fetchval("select count(*) from bulkhead.events") == 0
