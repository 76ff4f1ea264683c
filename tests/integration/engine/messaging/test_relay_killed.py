"""As test_relay_crashes, but the process is really gone: no `finally`, no goodbye."""

import asyncio

import pytest
from tests.integration.engine.messaging.parcels_application import (
    confirmed,
    count_up,
    received,
    waiting,
)
from tests.integration.engine.messaging.relay_process import start_relay_process

from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.failpoints import EXIT_CODE, registered
from bulkhead.engine.system import System
from bulkhead.engine.testing import expire_leases

POINTS = sorted(point for point in registered() if point.startswith("relay."))
DEADLINE_S = 60.0
PAUSE_S = 0.005
"""Between the events of a writer, so that the relay keeps up; and between two looks."""


@pytest.mark.parametrize("point", POINTS)
async def test_a_process_that_is_gone_leaves_exactly_one_effect(
    parcels: System, point: str
) -> None:
    for name in ("a", "b", "a"):
        await count_up(parcels, name)
    process = await start_relay_process(parcels, point)
    assert await process.wait() == EXIT_CODE
    await expire_leases(parcels)
    await parcels.relay.drain()
    assert await received(parcels) == {"a": [1, 2], "b": [1]}
    assert await received(parcels, "mirror") == {"a": [1, 2], "b": [1]}
    assert await confirmed(parcels) == {"a": 2, "b": 1}
    assert await waiting(parcels) == {}


async def test_relays_that_are_killed_under_load_lose_and_repeat_nothing(parcels: System) -> None:
    names, kills = ("a", "b", "c"), 3
    writing = asyncio.Event()

    async def write(name: str) -> int:
        written = 0
        while not writing.is_set():
            await count_up(parcels, name)
            written += 1
            await asyncio.sleep(PAUSE_S)
        return written

    async with asyncio.timeout(DEADLINE_S), asyncio.TaskGroup() as group:
        writers = {name: group.create_task(write(name)) for name in names}
        for _ in range(kills):
            process = await start_relay_process(parcels)
            await some_more_received(parcels, 25)
            process.kill()
            await process.wait()
            await expire_leases(parcels)
        writing.set()
    await expire_leases(parcels)
    await parcels.relay.drain()
    expected = {name: list(range(1, task.result() + 1)) for name, task in writers.items()}
    assert await received(parcels) == expected
    assert await received(parcels, "mirror") == expected
    assert await confirmed(parcels) == {name: task.result() for name, task in writers.items()}


async def some_more_received(system: System, more: int) -> None:
    """Ask until the target has received `more` events than now."""
    target = None
    while True:
        async with system.database("target").transaction(SERVICE) as tx:
            now = await tx.fetchval("select count(*) from receipts")
        target = now + more if target is None else target
        if now >= target:
            return
        await asyncio.sleep(PAUSE_S)
