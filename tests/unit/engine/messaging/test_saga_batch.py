import asyncio

import pytest

from bulkhead.engine.messaging.saga_batch import Batcher


class Recorder:
    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.begun = asyncio.Event()

    async def flush(self, items: list[int]) -> list[int | BaseException]:
        self.batches.append(items)
        self.begun.set()
        await self.gate.wait()
        return [ValueError(item) if item < 0 else item * 10 for item in items]


async def test_a_lone_item_is_flushed_at_once() -> None:
    recorder = Recorder()
    assert await Batcher(recorder.flush).submit(1) == 10
    assert recorder.batches == [[1]]


async def test_items_that_arrive_during_a_flush_form_the_next_batch() -> None:
    recorder = Recorder()
    recorder.gate.clear()
    batcher = Batcher(recorder.flush)
    first = asyncio.create_task(batcher.submit(1))
    await recorder.begun.wait()
    others = [asyncio.create_task(batcher.submit(n)) for n in (2, 3, 4)]
    await asyncio.sleep(0)  # They are tasks that wait now.
    recorder.gate.set()
    assert await first == 10
    assert [await task for task in others] == [20, 30, 40]
    assert recorder.batches == [[1], [2, 3, 4]]


async def test_one_bad_item_fails_alone() -> None:
    recorder = Recorder()
    recorder.gate.clear()
    batcher = Batcher(recorder.flush)
    tasks = [asyncio.create_task(batcher.submit(n)) for n in (1, -2, 3)]
    await recorder.begun.wait()
    recorder.gate.set()
    results = await asyncio.wait_for(_collect(tasks), 30)
    assert results == [10, "refused", 30]


async def _collect(tasks: list[asyncio.Task[int]]) -> list[int | str]:
    results: list[int | str] = []
    for task in tasks:
        try:
            results.append(await task)
        except ValueError:
            results.append("refused")
    return results


async def test_a_cancelled_submitter_does_not_stop_its_batch() -> None:
    recorder = Recorder()
    recorder.gate.clear()
    batcher = Batcher(recorder.flush)
    gone = asyncio.create_task(batcher.submit(1))
    stays = asyncio.create_task(batcher.submit(2))
    await recorder.begun.wait()
    gone.cancel()
    recorder.gate.set()
    assert await stays == 20
    with pytest.raises(asyncio.CancelledError):
        await gone


async def test_no_batch_is_larger_than_its_limit() -> None:
    recorder = Recorder()
    batcher = Batcher(recorder.flush, batch_max=10)
    async with asyncio.TaskGroup() as group:
        for number in range(95):
            group.create_task(batcher.submit(number))
    assert sum(len(batch) for batch in recorder.batches) == 95
    assert max(len(batch) for batch in recorder.batches) <= 10
