"""Work that is not cut off where nobody would know what came of it."""

import asyncio

import pytest

from bulkhead.engine.ongoing import claimed


class Desk:
    """Where one thing is claimed as soon as it is open."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.is_open = asyncio.Event()
        self.returned: list[str] = []

    async def claim(self) -> str:
        self.asked.set()
        await self.is_open.wait()
        return "thing"

    async def give_back(self, thing: str) -> None:
        await asyncio.sleep(0)
        self.returned.append(thing)


async def test_what_is_claimed_is_the_callers() -> None:
    desk = Desk()
    desk.is_open.set()
    assert await claimed(desk.claim(), desk.give_back) == "thing"
    assert desk.returned == []


async def test_who_is_cancelled_while_it_claims_has_nothing_claimed() -> None:
    desk = Desk()
    caller = asyncio.create_task(claimed(desk.claim(), desk.give_back))
    await desk.asked.wait()
    caller.cancel()
    await asyncio.sleep(0)
    desk.is_open.set()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert desk.returned == ["thing"]


async def test_who_is_cancelled_just_when_it_has_claimed_has_nothing_claimed() -> None:
    desk = Desk()

    async def claim() -> str:
        caller.cancel()
        return "thing"

    caller = asyncio.create_task(claimed(claim(), desk.give_back))
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert desk.returned == ["thing"]


async def test_nothing_is_given_back_where_nothing_could_be_claimed() -> None:
    desk = Desk()

    async def refused() -> str:
        await desk.claim()
        raise LookupError

    caller = asyncio.create_task(claimed(refused(), desk.give_back))
    await desk.asked.wait()
    caller.cancel()
    await asyncio.sleep(0)
    desk.is_open.set()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert desk.returned == []
