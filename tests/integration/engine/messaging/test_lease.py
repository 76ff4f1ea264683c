from collections import defaultdict

import pytest
from tests.integration.engine.messaging.parcels_application import (
    Handlers,
    another_relay,
    count_up,
    received,
)

from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.messaging.dead_letter import list_dead_letters, resend
from bulkhead.engine.messaging.lease import WINDOW_MAX, Claim, Lessee, Outcome, Retry
from bulkhead.engine.messaging.relay import RelayLimits
from bulkhead.engine.system import System

HANDLER = "target.record"


async def claim(system: System, lessee: Lessee, outcome: Outcome | None = None) -> Claim:
    return await lessee.claim(system.database("origin"), outcome)


def numbers(given: Claim) -> list[tuple[str, str]]:
    return [(each.envelope.key, each.envelope.payload[-2]) for each in given.deliveries]


async def pile_up(system: System, name: str, first: int, last: int) -> None:
    """Publish many events of one key for one handler, as a loop over `count_up` would."""
    async with system.database("origin").transaction(SERVICE) as tx:
        await tx.execute(
            "with published as ("
            "  insert into bulkhead.events (id, type, key, payload)"
            "  select uuidv7(), 'parcels.counted', $1,"
            "    jsonb_build_object('name', $1::text, 'number', n)"
            "  from generate_series($2::int, $3::int) n returning id, (payload ->> 'number')::int n"
            ") insert into bulkhead.deliveries (event_id, handler, key)"
            " select id, $4, $1 from published order by n",
            name,
            first,
            last,
            HANDLER,
        )


@pytest.mark.parametrize("floor", range(1, 20, 2))
async def test_whatever_the_floor_nothing_overtakes_its_lane(parcels: System, floor: int) -> None:
    for name in ("a", "b", "c", "a", "b", "a", "d", "c", "e", "a"):
        await count_up(parcels, name)
    lessee = Lessee("origin", HANDLER)
    lessee.floor.position = floor
    given: dict[str, str] = defaultdict(str)
    for key, number in numbers(await claim(parcels, lessee)):
        given[key] += number
    assert all("1234".startswith(taken) for taken in given.values()), given


async def test_a_lessee_takes_its_own_leases_up_again(parcels: System) -> None:
    """As after a claim whose reply was lost."""
    await count_up(parcels, "a", 3)
    lessee, stranger = Lessee("origin", HANDLER), Lessee("origin", HANDLER)
    first = await claim(parcels, lessee)
    assert numbers(first) == [("a", "1"), ("a", "2"), ("a", "3")]
    other = await claim(parcels, stranger)
    assert (numbers(other), other.contended) == ([], True)
    assert numbers(await claim(parcels, lessee)) == numbers(first)


async def test_who_has_lost_a_lease_can_neither_acknowledge_nor_fail_it(parcels: System) -> None:
    await count_up(parcels, "a", 2)
    slow, quick = Lessee("origin", HANDLER, lease_s=0.0), Lessee("origin", HANDLER)
    lost = await claim(parcels, slow)
    taken = await claim(parcels, quick)
    assert len(taken.deliveries) == 2
    first, second = lost.deliveries
    await claim(parcels, slow, Outcome(delivered=[first], failed=[(second, "too late")]))
    async with parcels.database("origin").transaction(SERVICE) as tx:
        rows = await tx.fetch(
            "select attempts, lease_id from bulkhead.deliveries where handler = $1", HANDLER
        )
    assert [(row["attempts"], row["lease_id"]) for row in rows] == [(0, quick.id), (0, quick.id)]


async def test_a_claim_is_cut_off_at_its_size_and_says_that_there_is_more(parcels: System) -> None:
    await count_up(parcels, "a", 5)
    lessee = Lessee("origin", HANDLER, batch_max=2)
    outcome, sizes = None, []
    while True:
        given = await claim(parcels, lessee, outcome)
        sizes.append((len(given.deliveries), given.more))
        outcome = Outcome(delivered=list(given.deliveries))
        if not given.deliveries:
            break
    assert sizes == [(2, True), (2, True), (1, False), (0, False)]


async def test_a_pile_behind_a_dead_letter_hides_nothing_and_arrives_in_order_later(
    parcels: System, handlers: Handlers
) -> None:
    last = 2 * WINDOW_MAX + 100
    handlers.poison.add("bad")
    await pile_up(parcels, "bad", 1, last)
    await count_up(parcels, "good")
    relay = another_relay(parcels, RelayLimits(retry=Retry(attempts_max=1)))
    await relay.drain(allow_dead=True)
    assert await received(parcels) == {"good": [1]}
    handlers.poison.clear()
    async with parcels.database("origin").transaction(SERVICE) as tx:
        (letter,) = await list_dead_letters(tx)
        assert letter.blocked == last - 1
        await resend(tx, letter.envelope.id, letter.handler)
    await relay.drain()
    assert (await received(parcels))["bad"] == list(range(1, last + 1))
