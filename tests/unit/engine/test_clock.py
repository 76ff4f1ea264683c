import asyncio
import datetime as dt

import pytest

from bulkhead.engine.clock import monotonic_s, now, stopped

NOON = dt.datetime(2026, 1, 31, 12, tzinfo=dt.UTC)


def test_now_is_aware_and_in_utc() -> None:
    assert now().utcoffset() == dt.timedelta(0)


def test_a_stopped_clock_stands_still_inside_the_block_only() -> None:
    with stopped(NOON):
        assert now() == NOON
        with stopped(NOON + dt.timedelta(days=1)):
            assert now() == NOON + dt.timedelta(days=1)
        assert now() == NOON
    assert now() != NOON


def test_a_stopped_clock_runs_again_after_a_failure() -> None:
    def fail() -> None:
        with stopped(NOON):
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert now() != NOON


async def test_a_clock_is_stopped_for_the_tasks_of_its_block_and_no_other() -> None:
    go_on = asyncio.Event()

    async def read() -> dt.datetime:
        await go_on.wait()
        return now()

    outside = asyncio.create_task(read())
    with stopped(NOON):
        inside = asyncio.create_task(read())
    go_on.set()
    assert await inside == NOON
    assert await outside != NOON


def test_the_clock_for_measuring_never_goes_back_and_never_stops() -> None:
    with stopped(NOON):
        readings = [monotonic_s() for _ in range(1000)]
    assert readings == sorted(readings)
    assert readings[-1] > readings[0]
