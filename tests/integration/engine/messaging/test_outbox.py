import pytest
from tests.integration.engine.messaging.parcels_application import (
    Counted,
    Recorded,
    count,
    received,
)

from bulkhead.engine.connections.claims import ANON, SERVICE, user
from bulkhead.engine.connections.router import Router
from bulkhead.engine.connections.transaction import Transaction
from bulkhead.engine.ids import new_id
from bulkhead.engine.messaging.event_log import list_events
from bulkhead.engine.messaging.outbox import PublishRefused, publish, publish_all
from bulkhead.engine.system import System


async def published(system: System) -> list[str]:
    """The payloads in the outbox of the origin, oldest first."""
    async with system.database("origin").transaction(SERVICE) as tx:
        return [event.payload for event in reversed(await list_events(tx))]


async def test_a_rolled_back_transaction_publishes_nothing(parcels: System) -> None:
    async def fail() -> None:
        async with parcels.database("origin").transaction(SERVICE) as tx:
            await count(tx, "ghost")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert await published(parcels) == []
    assert await parcels.relay.drain() == 0


async def test_a_savepoint_that_is_rolled_back_takes_its_events_with_it(parcels: System) -> None:
    async def fail_inside(tx: Transaction) -> None:
        async with tx.savepoint():
            publish_all(tx, [Counted("dropped", 1), Counted("dropped", 2)])
            raise ZeroDivisionError

    async with parcels.database("origin").transaction(SERVICE) as tx:
        publish(tx, Counted("kept", 1))
        with pytest.raises(ZeroDivisionError):
            await fail_inside(tx)
        publish(tx, Counted("kept", 2))
    await parcels.relay.drain()
    assert await received(parcels) == {"kept": [1, 2]}


async def test_a_clients_transaction_cannot_publish(parcels: System) -> None:
    for claims in (ANON, user(new_id())):
        async with parcels.database("origin").transaction(claims) as tx:
            with pytest.raises(PublishRefused, match=r"parcels\.counted.*runs as"):
                publish(tx, Counted("a", 1))
    assert await published(parcels) == []


async def test_a_router_without_an_outbox_refuses_to_publish(parcels: System) -> None:
    router = Router("parcels", parcels.router.placements)
    try:
        async with router.database("origin").transaction(SERVICE) as tx:
            with pytest.raises(PublishRefused, match="without an outbox"):
                publish(tx, Counted("a", 1))
    finally:
        await router.close()


async def test_an_event_nobody_waits_for_is_kept_but_not_delivered(parcels: System) -> None:
    async with parcels.database("target").transaction(SERVICE) as tx:
        publish(tx, Recorded("a", 1))
    async with parcels.database("origin").transaction(SERVICE) as tx:
        assert await tx.fetchval("select count(*) from bulkhead.deliveries") == 0


async def test_text_of_any_kind_travels_unchanged(parcels: System) -> None:
    names = [
        "o'clock",
        'a"b',
        "back\\slash",
        "\\u0000",
        "sn☃w",
        "$1; drop table x; --",
        "%s {} \t\n",
    ]
    async with parcels.database("origin").transaction(SERVICE) as tx:
        publish_all(tx, [Counted(name, 1) for name in names])
    await parcels.relay.drain()
    assert await received(parcels) == {name: [1] for name in names}


async def test_ids_are_returned_in_the_order_of_the_events(parcels: System) -> None:
    async with parcels.database("origin").transaction(SERVICE) as tx:
        ids = publish_all(tx, [Counted("a", number) for number in range(20)])
    async with parcels.database("origin").transaction(SERVICE) as tx:
        for number, event_id in enumerate(ids):
            payload = await tx.fetchval(
                "select payload ->> 'number' from bulkhead.events where id = $1", event_id
            )
            assert payload == str(number)
