import asyncio

import pytest

from bulkhead.engine.fleet.parallel import in_parallel


async def test_results_come_in_order_and_never_more_than_a_few_at_a_time() -> None:
    busy, most = 0, 0

    async def work(number: int) -> int:
        nonlocal busy, most
        busy += 1
        most = max(most, busy)
        for _ in range(10 - number):  # The first one takes longest.
            await asyncio.sleep(0)
        busy -= 1
        return number * number

    assert await in_parallel(work, range(8), 3) == [number * number for number in range(8)]
    assert most == 3
    assert await in_parallel(work, [], 3) == []


async def test_the_first_that_raises_ends_the_others() -> None:
    ended: list[int] = []

    async def work(number: int) -> None:
        if number == 1:
            raise ValueError
        await asyncio.Event().wait()
        ended.append(number)

    with pytest.raises(ExceptionGroup):
        await in_parallel(work, range(3), 3)
    assert ended == []
