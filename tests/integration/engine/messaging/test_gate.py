import asyncio

import pytest
from tests.integration.engine.messaging.parcels_application import count_up, received, waiting

from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.messaging.gate import closed_gate
from bulkhead.engine.messaging.inbox import receive
from bulkhead.engine.system import System

DEADLINE_S = 4.0  # The server gives up waiting for a lock after five seconds.


async def until_somebody_waits(system: System) -> None:
    """Ask until somebody stands before the gate of a database."""
    async with asyncio.timeout(DEADLINE_S):
        waiting_now = 0
        while not waiting_now:
            async with system.database("origin").transaction(SERVICE) as tx:
                waiting_now = await tx.fetchval(
                    "select count(*) from pg_locks where locktype = 'advisory' and not granted"
                )


async def test_nothing_is_received_while_the_gate_is_closed(parcels: System) -> None:
    async with asyncio.TaskGroup() as group:
        async with closed_gate(parcels.router):
            await count_up(parcels, "a", 3)  # Writers go on.
            draining = group.create_task(parcels.relay.drain())
            await until_somebody_waits(parcels)
            assert await received(parcels) == {}
            assert await received(parcels, "mirror") == {}
            assert await waiting(parcels) == {"mirror.copy": 3, "target.record": 3}
        await draining
    assert await received(parcels) == {"a": [1, 2, 3]}
    assert parcels.relay.failed == 0


async def test_the_gate_waits_for_a_delivery_in_flight(parcels: System) -> None:
    async def close_and_open() -> None:
        async with closed_gate(parcels.router):
            pass

    async with asyncio.TaskGroup() as group, parcels.database("target").transaction(SERVICE) as tx:
        await receive(tx, "target.record", [])
        closing = group.create_task(close_and_open())
        await until_somebody_waits(parcels)
        assert not closing.done()


async def test_the_gate_opens_again_when_the_block_fails(parcels: System) -> None:
    async def fail() -> None:
        async with closed_gate(parcels.router):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    await count_up(parcels, "a")
    await parcels.relay.drain()
    assert await received(parcels) == {"a": [1]}
