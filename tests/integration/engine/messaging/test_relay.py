import asyncio

from tests.integration.engine.messaging.parcels_application import (
    Handlers,
    another_process,
    another_relay,
    confirmed,
    count_up,
    received,
    waiting,
)

from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.messaging.relay import RelayLimits
from bulkhead.engine.system import System

DEADLINE_S = 30.0


async def count_in_turn(system: System, start: int, keys: int, turns: int) -> None:
    for turn in range(turns):
        await count_up(system, f"k{(start + turn) % keys}")


async def test_an_event_reaches_every_handler_once(parcels: System) -> None:
    await count_up(parcels, "a", 3)
    await parcels.relay.drain()
    assert await received(parcels) == {"a": [1, 2, 3]}
    assert await received(parcels, "mirror") == {"a": [1, 2, 3]}
    assert await waiting(parcels) == {}


async def test_a_handler_publishes_in_its_own_transaction(parcels: System) -> None:
    await count_up(parcels, "a", 3)
    await parcels.relay.drain()
    assert await confirmed(parcels) == {"a": 3}


async def test_ten_writers_and_two_relays_neither_lose_nor_reorder(parcels: System) -> None:
    writers, keys, turns = 10, 5, 20
    small = RelayLimits(batch_max=7)
    async with another_process(parcels) as other:
        processes = [parcels, other]
        relays = [another_relay(process, small) for process in processes]
        for relay in relays:
            await relay.start()
        async with asyncio.TaskGroup() as group:
            for writer in range(writers):
                group.create_task(count_in_turn(processes[writer % 2], writer, keys, turns))
        for relay in relays:
            await relay.stop()
        await parcels.relay.drain()
    expected = list(range(1, writers * turns // keys + 1))
    for database in ("target", "mirror"):
        numbers = await received(parcels, database)
        assert numbers == {f"k{key}": expected for key in range(keys)}


async def test_a_delivery_behind_one_that_another_relay_holds_is_not_leased(
    parcels: System,
) -> None:
    await count_up(parcels, "a")
    async with parcels.database("origin").transaction(SERVICE) as tx:
        await tx.execute(
            "update bulkhead.deliveries"
            " set lease_id = gen_random_uuid(), leased_until = now() + interval '1 hour'"
        )
    await count_up(parcels, "a")
    await count_up(parcels, "b")
    await parcels.relay.drain(allow_dead=True)
    assert await received(parcels) == {"b": [1]}


async def test_an_expired_lease_is_taken_over(parcels: System) -> None:
    await count_up(parcels, "a", 2)
    async with parcels.database("origin").transaction(SERVICE) as tx:
        await tx.execute(
            "update bulkhead.deliveries set lease_id = gen_random_uuid(), leased_until = now()"
        )
    await parcels.relay.drain()
    assert await received(parcels) == {"a": [1, 2]}


async def test_a_delivery_that_is_repeated_has_no_second_effect(parcels: System) -> None:
    await count_up(parcels, "a", 2)
    async with parcels.database("origin").transaction(SERVICE) as tx:
        rows = await tx.fetch("select event_id, handler, key from bulkhead.deliveries")
    await parcels.relay.drain()
    async with parcels.database("origin").transaction(SERVICE) as tx:
        await tx.executemany(
            "insert into bulkhead.deliveries (event_id, handler, key) values ($1, $2, $3)",
            [(row["event_id"], row["handler"], row["key"]) for row in rows],
        )
    assert await parcels.relay.drain() == 4
    assert await received(parcels) == {"a": [1, 2]}
    assert await received(parcels, "mirror") == {"a": [1, 2]}


async def test_two_relays_that_hold_the_same_events_have_one_effect(
    parcels: System, handlers: Handlers
) -> None:
    """As after a pause longer than a lease: both deliver, and the inbox decides."""
    await count_up(parcels, "a", 5)
    greedy = RelayLimits(lease_s=0.0)
    async with asyncio.TaskGroup() as group:
        for _ in range(4):
            group.create_task(another_relay(parcels, greedy).drain(allow_dead=True))
    await parcels.relay.drain()
    assert await received(parcels) == {"a": [1, 2, 3, 4, 5]}
    assert handlers.calls["a"] == 5


async def test_a_started_relay_is_woken_by_a_commit(parcels: System, handlers: Handlers) -> None:
    await parcels.relay.start()
    try:
        async with asyncio.timeout(DEADLINE_S):
            for number in range(1, 6):
                await count_up(parcels, "a")
                await handlers.seen("a", number)
    finally:
        await parcels.relay.stop()
    assert await received(parcels) == {"a": [1, 2, 3, 4, 5]}


async def test_a_stopped_relay_has_finished_what_was_in_flight(
    parcels: System, handlers: Handlers
) -> None:
    await parcels.relay.start()
    await count_up(parcels, "a", 20)
    await handlers.seen("a", 1)
    await parcels.relay.stop()
    async with parcels.database("origin").transaction(SERVICE) as tx:
        assert await tx.fetchval("select count(lease_id) from bulkhead.deliveries") == 0
    assert handlers.calls["a"] == len((await received(parcels)).get("a", []))


async def test_a_backlog_is_delivered_in_batches(parcels: System) -> None:
    async with asyncio.TaskGroup() as group:
        for writer in range(8):
            group.create_task(count_up(parcels, f"k{writer}", 30))
    before = await waiting(parcels)
    assert before == {"mirror.copy": 240, "target.record": 240}
    relay = another_relay(parcels, RelayLimits(batch_max=50))
    assert await relay.drain() == 3 * 240
    expected = {f"k{writer}": list(range(1, 31)) for writer in range(8)}
    assert await received(parcels) == expected
    assert await received(parcels, "mirror") == expected
