import json
from dataclasses import replace
from uuid import UUID

import pytest
from tests.integration.engine.messaging.parcels_application import (
    Handlers,
    another_relay,
    confirmed,
    count_up,
    received,
    waiting,
)

from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.ids import new_id
from bulkhead.engine.messaging.dead_letter import (
    DeadLetter,
    DeadLetterUnknown,
    discard,
    get_dead_letter,
    list_dead_letters,
    resend,
)
from bulkhead.engine.messaging.event_log import EventUnknown, get_event
from bulkhead.engine.messaging.lease import Retry
from bulkhead.engine.messaging.relay import DeliveriesStuck, RelayLimits
from bulkhead.engine.system import System

HASTY = RelayLimits(retry=Retry(attempts_max=3, pause_s=0.0))
PATIENT = RelayLimits(retry=Retry(pause_s=300.0))
"""However slow the machine is, nothing is tried a second time meanwhile."""


async def dead_letters(system: System) -> list[DeadLetter]:
    async with system.database("origin").transaction(SERVICE) as tx:
        return await list_dead_letters(tx)


async def poison(system: System, handlers: Handlers, name: str) -> DeadLetter:
    """Publish three events under `name`, of which the first cannot be handled."""
    handlers.poison.add(name)
    await count_up(system, name, 3)
    await another_relay(system, HASTY).drain(allow_dead=True)
    (letter,) = await dead_letters(system)
    return letter


async def test_a_poison_event_blocks_only_its_own_key(parcels: System, handlers: Handlers) -> None:
    for name in ("a", "bad", "b", "a", "b"):
        handlers.poison.add("bad")
        await count_up(parcels, name)
    await another_relay(parcels, HASTY).drain(allow_dead=True)
    assert await received(parcels) == {"a": [1, 2], "b": [1, 2]}
    assert await received(parcels, "mirror") == {"a": [1, 2], "bad": [1], "b": [1, 2]}
    assert await waiting(parcels) == {"target.record": 1}
    with pytest.raises(DeliveriesStuck, match=r"1 for target\.record in origin, 1 of them dead"):
        await parcels.relay.drain()


async def test_a_dead_letter_says_what_failed_and_what_waits(
    parcels: System, handlers: Handlers
) -> None:
    letter = await poison(parcels, handlers, "bad")
    assert letter.handler == "target.record"
    assert letter.attempts == 3
    assert letter.error == "Poisoned: bad"
    assert letter.blocked == 2
    assert letter.envelope.source == "origin"
    assert json.loads(letter.envelope.payload) == {"name": "bad", "number": 1}
    async with parcels.database("origin").transaction(SERVICE) as tx:
        assert await get_dead_letter(tx, letter.envelope.id, letter.handler) == letter


async def test_events_published_after_a_dead_letter_wait_too(
    parcels: System, handlers: Handlers
) -> None:
    await poison(parcels, handlers, "bad")
    await count_up(parcels, "bad")
    await count_up(parcels, "good")
    await another_relay(parcels, HASTY).drain(allow_dead=True)
    assert await received(parcels) == {"good": [1]}
    assert [letter.blocked for letter in await dead_letters(parcels)] == [3]


async def test_a_resent_dead_letter_and_what_waited_arrive_in_order(
    parcels: System, handlers: Handlers
) -> None:
    letter = await poison(parcels, handlers, "bad")
    handlers.poison.clear()
    async with parcels.database("origin").transaction(SERVICE) as tx:
        await resend(tx, letter.envelope.id, letter.handler)
    await parcels.relay.drain()
    assert await received(parcels) == {"bad": [1, 2, 3]}
    assert await confirmed(parcels) == {"bad": 3}


async def test_a_resent_dead_letter_that_fails_again_has_all_its_attempts(
    parcels: System, handlers: Handlers
) -> None:
    letter = await poison(parcels, handlers, "bad")
    async with parcels.database("origin").transaction(SERVICE) as tx:
        await resend(tx, letter.envelope.id, letter.handler)
    relay = another_relay(parcels, HASTY)
    await relay.drain(allow_dead=True)
    assert relay.failed == 3
    assert [each.attempts for each in await dead_letters(parcels)] == [3]


async def test_a_discarded_dead_letter_lets_the_others_pass_and_is_recorded(
    parcels: System, handlers: Handlers
) -> None:
    letter = await poison(parcels, handlers, "bad")
    handlers.poison.clear()
    async with parcels.database("origin").transaction(SERVICE) as tx:
        await discard(tx, letter.envelope.id, letter.handler, "sent by mistake")
    await parcels.relay.drain()
    assert await received(parcels) == {"bad": [2, 3]}
    story = await get_event(parcels.router, "origin", letter.envelope.id)
    (pending,) = story.pending
    assert (pending.handler, pending.discarded_because) == ("target.record", "sent by mistake")
    assert (pending.attempts, pending.error) == (3, "Poisoned: bad")
    assert [receipt.handler for receipt in story.receipts] == ["mirror.copy"]


async def test_a_discarded_delivery_can_be_resent_after_all(
    parcels: System, handlers: Handlers
) -> None:
    letter = await poison(parcels, handlers, "bad")
    handlers.poison.clear()
    for action in (lambda tx, i, h: discard(tx, i, h, "a hasty decision"), resend):
        async with parcels.database("origin").transaction(SERVICE) as tx:
            await action(tx, letter.envelope.id, letter.handler)
    await parcels.relay.drain()
    assert await received(parcels) == {"bad": [2, 3, 1]}
    story = await get_event(parcels.router, "origin", letter.envelope.id)
    assert story.pending == ()


async def test_only_dead_letters_can_be_discarded(parcels: System) -> None:
    await count_up(parcels, "a")
    async with parcels.database("origin").transaction(SERVICE) as tx:
        event_id: UUID = await tx.fetchval("select id from bulkhead.events")
        with pytest.raises(DeadLetterUnknown):
            await discard(tx, event_id, "target.record", "impatience")
        with pytest.raises(DeadLetterUnknown):
            await get_dead_letter(tx, event_id, "target.record")
        with pytest.raises(DeadLetterUnknown):
            await resend(tx, new_id(), "target.record")


async def test_one_poison_event_among_many_costs_few_transactions(
    parcels: System, handlers: Handlers
) -> None:
    handlers.poison.add("k57")
    for number in range(100):
        await count_up(parcels, f"k{number}")
    await another_relay(parcels, PATIENT).drain(allow_dead=True)
    assert len(await received(parcels)) == 99
    # Halving: the innocent half of each step runs once more, the others are done.
    assert max(handlers.calls.values()) <= 8
    assert sum(handlers.calls.values()) < 400


async def test_a_failed_delivery_is_tried_again_later(parcels: System, handlers: Handlers) -> None:
    handlers.poison.add("bad")
    await count_up(parcels, "bad")
    await another_relay(parcels, PATIENT).drain(allow_dead=True)
    assert handlers.calls["bad"] == 1
    async with parcels.database("origin").transaction(SERVICE) as tx:
        row = await tx.fetchrow(
            "select attempts, dead_at, last_error, available_at > clock_timestamp() as later"
            " from bulkhead.deliveries"
        )
        assert row is not None
        assert (row["attempts"], row["dead_at"], row["later"]) == (1, None, True)
        assert row["last_error"] == "Poisoned: bad"
        await tx.execute("update bulkhead.deliveries set available_at = 'epoch'")
    handlers.poison.clear()
    await parcels.relay.drain()
    assert await received(parcels) == {"bad": [1]}


async def test_an_event_on_which_the_connection_always_breaks_becomes_a_dead_letter(
    parcels: System, handlers: Handlers
) -> None:
    handlers.lethal.add("bad")
    for name in ("a", "bad", "b", "bad"):
        await count_up(parcels, name)
    relay = another_relay(parcels, HASTY)
    for _ in range(10):
        await relay.drain(allow_dead=True)
        parcels.database("target").breaker.succeeded()  # Its pause has passed.
    assert await received(parcels) == {"a": [1], "b": [1]}
    (letter,) = await dead_letters(parcels)
    assert (letter.envelope.key, letter.attempts) == ("bad", 3)
    assert letter.error.startswith("connection_lost: ")


async def test_a_handler_that_never_comes_back_is_stopped(
    parcels: System, handlers: Handlers
) -> None:
    handlers.endless.add("bad")
    for name in ("a", "bad", "b"):
        await count_up(parcels, name)
    impatient = RelayLimits(handler_timeout_s=0.5, retry=replace(HASTY.retry, attempts_max=2))
    await another_relay(parcels, impatient).drain(allow_dead=True)
    assert await received(parcels) == {"a": [1], "b": [1]}
    (letter,) = await dead_letters(parcels)
    assert letter.error == "handler_timed_out: Handler 'target.record' took longer than 0.5 s."


async def test_a_payload_that_cannot_be_read_becomes_a_dead_letter(parcels: System) -> None:
    for name in ("a", "bad", "b"):
        await count_up(parcels, name)
    async with parcels.database("origin").transaction(SERVICE) as tx:
        await tx.execute(
            "update bulkhead.events set payload = '{\"name\": \"bad\"}' where key = 'bad'"
        )
    relay = another_relay(parcels, HASTY)
    await relay.drain(allow_dead=True)
    assert await received(parcels) == {"a": [1], "b": [1]}
    assert await received(parcels, "mirror") == {"a": [1], "b": [1]}
    letters = await dead_letters(parcels)
    assert {letter.handler for letter in letters} == {"target.record", "mirror.copy"}
    assert all("number" in letter.error for letter in letters)


async def test_the_life_of_an_event_is_told_from_outbox_to_inboxes(parcels: System) -> None:
    await count_up(parcels, "a")
    async with parcels.database("origin").transaction(SERVICE) as tx:
        event_id: UUID = await tx.fetchval("select id from bulkhead.events")
    before = await get_event(parcels.router, "origin", event_id)
    assert [each.handler for each in before.pending] == ["mirror.copy", "target.record"]
    assert before.receipts == ()
    await parcels.relay.drain()
    after = await get_event(parcels.router, "origin", event_id)
    assert after.pending == ()
    receipts = {(each.database, each.handler) for each in after.receipts}
    assert receipts == {("mirror", "mirror.copy"), ("target", "target.record")}
    with pytest.raises(EventUnknown):
        await get_event(parcels.router, "origin", new_id())
