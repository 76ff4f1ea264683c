"""Work that stops at a failpoint until a test has done something meanwhile."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from bulkhead.engine import failpoints
from bulkhead.engine.failpoints import Mode

Result = TypeVar("Result")
DEADLINE_S = 10.0


@asynccontextmanager
async def stalled(
    point: str, work: Coroutine[Any, Any, Result]
) -> AsyncIterator["asyncio.Task[Result]"]:
    """Begin `work`, which has come to `point`, and goes on and ends when the block ends."""
    reached = asyncio.Event()
    failpoints.observe(lambda name: reached.set() if name == point else None)
    failpoints.arm(point, Mode.STALL)
    task = asyncio.create_task(work)
    try:
        async with asyncio.timeout(DEADLINE_S):
            await reached.wait()
        failpoints.observe(None)
        yield task
    finally:
        failpoints.observe(None)
        failpoints.disarm()
        await asyncio.wait([task], timeout=DEADLINE_S)
