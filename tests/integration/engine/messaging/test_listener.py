"""Hints between processes: one publishes, another relays."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from tests.integration.engine.messaging.faulty_proxy import FaultyProxy, proxy_for, through_proxy
from tests.integration.engine.messaging.parcels_application import (
    Handlers,
    another_process,
    count_up,
    received,
)

from bulkhead.engine.drivers.protocol import Login
from bulkhead.engine.messaging import listener
from bulkhead.engine.messaging.listener import CHANNEL, Listener, Notifier
from bulkhead.engine.messaging.relay import Relay
from bulkhead.engine.system import System

DEADLINE_S = 30.0


@pytest.fixture
async def publisher(parcels: System) -> AsyncIterator[System]:
    """Another process, which publishes and tells, and runs no relay."""
    async with another_process(parcels) as other:
        notifier = Notifier(other.router, other.outbox)
        notifier.start()
        yield other
        await notifier.stop()


class Ear:
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.heard: list[frozenset[str]] = []
        self._changed = asyncio.Event()

    def ring(self, handlers: frozenset[str]) -> None:
        self.heard.append(handlers)
        self._changed.set()

    async def hear(self, times: int) -> None:
        async with asyncio.timeout(DEADLINE_S):
            while len(self.heard) < times:
                self._changed.clear()
                await self._changed.wait()


@pytest.fixture
async def ear(parcels: System) -> AsyncIterator[Ear]:
    ear = Ear()
    listening = asyncio.create_task(Listener(parcels.database("origin"), ear.ring).run())
    await ear.hear(1)
    yield ear
    listening.cancel()
    await asyncio.wait([listening])


async def test_a_listener_looks_everywhere_when_it_begins(ear: Ear) -> None:
    assert ear.heard == [frozenset()]


async def test_a_commit_of_another_process_names_the_handlers(ear: Ear, publisher: System) -> None:
    await count_up(publisher, "a")
    await ear.hear(2)
    assert ear.heard[1] == {"target.record", "mirror.copy"}


async def test_many_commits_share_few_notifications(
    ear: Ear, publisher: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Long enough for a slow machine to commit something meanwhile.
    monkeypatch.setattr(listener, "INTERVAL_S", 0.5)
    await count_up(publisher, "a", 200)
    await ear.hear(3)
    assert len(ear.heard) < 100


async def test_a_listener_gives_its_connection_back(parcels: System, ear: Ear) -> None:
    budget = parcels.database("origin").services.budget
    taken = budget.taken
    second = Ear()
    listening = asyncio.create_task(Listener(parcels.database("origin"), second.ring).run())
    await second.hear(1)
    assert budget.taken == taken + 1
    listening.cancel()
    await asyncio.wait([listening])
    assert budget.taken == taken
    assert ear.heard == [frozenset()]


async def test_a_listener_connects_again(parcels: System) -> None:
    proxy: FaultyProxy = proxy_for(parcels, "origin")
    await proxy.open()
    remote = through_proxy(parcels, "origin", proxy)
    ear = Ear()
    listening = asyncio.create_task(Listener(remote.database("origin"), ear.ring).run())
    try:
        await ear.hear(1)
        await proxy.close()
        await proxy.open()
        await ear.hear(2)
        assert ear.heard == [frozenset(), frozenset()]
    finally:
        listening.cancel()
        await asyncio.wait([listening])
        await remote.close()
        await proxy.close()


async def test_a_hot_relay_delivers_what_another_process_publishes(
    parcels: System, publisher: System, handlers: Handlers
) -> None:
    relay = Relay(parcels.router, parcels.outbox, hot={"origin"})
    await relay.start()
    try:
        async with asyncio.timeout(DEADLINE_S):
            for number in range(1, 6):
                await count_up(publisher, "a")
                await handlers.seen("a", number)
    finally:
        await relay.stop()
    assert await received(parcels) == {"a": [1, 2, 3, 4, 5]}


async def test_a_notification_of_somebody_else_does_no_harm(parcels: System, ear: Ear) -> None:
    placement = next(each for each in parcels.router.placements if each.database == "origin")
    connection = await placement.driver.connect(placement.spec, Login.SERVICE, timeout_s=10)
    await connection.execute(f"notify {CHANNEL}, 'no.such.handler,,\"'")
    await connection.close()
    await ear.hear(2)
    await parcels.relay.start()
    await parcels.relay.stop()
