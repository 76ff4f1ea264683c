"""A relay that dies anywhere leaves nothing undone and nothing done twice."""

import pytest
from tests.integration.engine.messaging.parcels_application import (
    Handlers,
    confirmed,
    count_up,
    received,
    waiting,
)

from bulkhead.engine.failpoints import registered
from bulkhead.engine.system import System
from bulkhead.engine.testing import crash_at, restarted

POINTS = sorted(point for point in registered() if point.startswith("relay."))


def test_every_stage_of_a_delivery_can_be_crashed_at() -> None:
    assert POINTS == [
        "relay.acknowledged",
        "relay.before_claim",
        "relay.before_delivery",
        "relay.claimed",
        "relay.delivered",
        "relay.handled",
        "relay.received",
    ]


@pytest.mark.parametrize("after", [0, 2])
@pytest.mark.parametrize("point", POINTS)
async def test_a_crash_is_followed_by_exactly_one_effect(
    parcels: System, point: str, after: int
) -> None:
    for name in ("a", "b", "a", "b", "a"):
        await count_up(parcels, name)
    with crash_at(point, after=after):
        await parcels.relay.drain()
    async with restarted(parcels) as next_process:
        await next_process.relay.drain()
        assert await received(next_process) == {"a": [1, 2, 3], "b": [1, 2]}
        assert await received(next_process, "mirror") == {"a": [1, 2, 3], "b": [1, 2]}
        assert await confirmed(next_process) == {"a": 3, "b": 2}
        assert await waiting(next_process) == {}


@pytest.mark.parametrize("point", POINTS)
async def test_a_crash_between_batches_keeps_the_order(
    parcels: System, handlers: Handlers, point: str
) -> None:
    await count_up(parcels, "a", 30)
    with crash_at(point):
        await parcels.relay.drain()
    await count_up(parcels, "a", 30)
    async with restarted(parcels) as next_process:
        await next_process.relay.drain()
        assert await received(next_process) == {"a": list(range(1, 61))}
        assert await received(next_process, "mirror") == {"a": list(range(1, 61))}
