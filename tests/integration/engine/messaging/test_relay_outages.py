"""A database that is away delays its own deliveries, and nothing else."""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from tests.integration.engine.messaging.faulty_proxy import FaultyProxy, proxy_for, through_proxy
from tests.integration.engine.messaging.parcels_application import (
    Handlers,
    another_process,
    confirmed,
    count_up,
    received,
    waiting,
)

from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.drivers.errors import StatementTimeout
from bulkhead.engine.messaging.event_log import get_event
from bulkhead.engine.system import System, build_system


@pytest.fixture
async def proxy(parcels: System) -> AsyncIterator[FaultyProxy]:
    proxy = proxy_for(parcels, "target")
    await proxy.open()
    yield proxy
    await proxy.close()


@pytest.fixture
async def remote(parcels: System, proxy: FaultyProxy) -> AsyncIterator[System]:
    """The system with its target behind the proxy."""
    system = through_proxy(parcels, "target", proxy)
    yield system
    await system.close()


async def attempts(system: System) -> list[int]:
    async with system.database("origin").transaction(SERVICE) as tx:
        rows = await tx.fetch("select attempts from bulkhead.deliveries order by position")
    return [row["attempts"] for row in rows]


async def test_others_flow_while_one_database_is_away(remote: System, proxy: FaultyProxy) -> None:
    await proxy.close()
    await count_up(remote, "a", 3)
    await remote.relay.drain(allow_dead=True)
    assert await received(remote, "mirror") == {"a": [1, 2, 3]}
    assert await waiting(remote) == {"target.record": 3}


async def test_a_database_that_hangs_is_left_out(parcels: System) -> None:
    hasty = replace(parcels.settings, statement_timeout_s=0.2)
    system = build_system(parcels.application, hasty, parcels.router.placements)
    await count_up(parcels, "a")
    async with parcels.database("origin").transaction(SERVICE) as tx:
        await tx.execute("lock table bulkhead.deliveries")
        with pytest.raises(StatementTimeout):
            await system.relay.drain()
        assert await system.relay.drain(allow_dead=True) == 0
    await parcels.relay.drain()
    await system.close()


async def test_an_outage_is_no_failed_attempt_and_holds_no_lease(
    remote: System, proxy: FaultyProxy
) -> None:
    await proxy.close()
    await count_up(remote, "a", 3)
    for _ in range(12):
        await remote.relay.drain(allow_dead=True)
    assert await attempts(remote) == [0, 0, 0]
    assert [each.leased for each in await remote.relay.backlog("origin")] == [0]


async def test_the_backlog_arrives_in_order_when_the_database_is_back(
    remote: System, proxy: FaultyProxy
) -> None:
    await count_up(remote, "a", 2)
    await remote.relay.drain()
    await proxy.close()
    for name in ("a", "b") * 10:
        await count_up(remote, name)
    await remote.relay.drain(allow_dead=True)
    await proxy.open()
    async with another_process(remote) as patient:  # Its breaker has seen no failure.
        await patient.relay.drain()
        assert await received(patient) == {"a": list(range(1, 13)), "b": list(range(1, 11))}
        assert await confirmed(patient) == {"a": 12, "b": 10}


async def test_a_started_relay_goes_on_by_itself_after_an_outage(
    remote: System, proxy: FaultyProxy, handlers: Handlers
) -> None:
    await proxy.close()
    await remote.relay.start()
    await count_up(remote, "a", 3)
    await proxy.open()
    await handlers.seen("a", 3)
    await remote.relay.stop()
    await remote.relay.drain()
    assert await received(remote) == {"a": [1, 2, 3]}


@pytest.mark.parametrize("lost", [1, 2])
async def test_a_delivery_whose_commit_got_no_reply_has_one_effect(
    remote: System, proxy: FaultyProxy, lost: int
) -> None:
    await count_up(remote, "a", 3)
    proxy.commits_to_lose = lost
    while proxy.lost < lost:
        await remote.relay.drain(allow_dead=True)
    await remote.relay.drain()
    assert remote.relay.failed == 0
    assert await received(remote) == {"a": [1, 2, 3]}
    assert await confirmed(remote) == {"a": 3}


async def test_a_relay_whose_own_commits_get_no_reply_delivers_once(parcels: System) -> None:
    proxy = proxy_for(parcels, "origin")
    await proxy.open()
    remote = through_proxy(parcels, "origin", proxy)
    try:
        await count_up(parcels, "a", 3)
        rounds = 0
        while rounds < 8 or proxy.lost < 3:  # Looks, claims and acknowledgements in turn.
            proxy.commits_to_lose = 1
            await remote.relay.drain(allow_dead=True)
            rounds += 1
        proxy.commits_to_lose = 0
        await remote.relay.drain()
    finally:
        await remote.close()
        await proxy.close()
    assert await received(parcels) == {"a": [1, 2, 3]}
    assert await received(parcels, "mirror") == {"a": [1, 2, 3]}
    assert await confirmed(parcels) == {"a": 3}


async def test_the_life_of_an_event_names_inboxes_that_cannot_be_asked(
    remote: System, proxy: FaultyProxy
) -> None:
    await count_up(remote, "a")
    await remote.relay.drain()
    async with remote.database("origin").transaction(SERVICE) as tx:
        event_id = await tx.fetchval("select id from bulkhead.events")
    await proxy.close()
    story = await get_event(remote.router, "origin", event_id)
    assert [receipt.database for receipt in story.receipts] == ["mirror"]
    assert story.unreachable == ("target",)
