"""Work that goes on to its own end, however long its caller waits for it.

That a database hangs is found out by the time-outs of whoever asks it, one statement and one new
connection after the other, which adds up to more than anybody waits for. If the work were cancelled
instead, its breaker would learn nothing, and what is at its commit would be cut off.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from bulkhead.engine.clock import monotonic_s

T = TypeVar("T")

SETTLED_S: Final = 2.0
"""After which a server has ended, or given up, a statement that was cancelled."""


@dataclass(slots=True, eq=False)
class Ongoing:
    """The tasks that were begun and have not ended."""

    _tasks: set[asyncio.Task[Any]] = field(default_factory=set)

    def begin(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Let `work` be done."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._forget)
        return task

    async def drain(self) -> None:
        """Wait until all of it has ended."""
        while self._tasks:
            await asyncio.wait(self._tasks)
            await asyncio.sleep(0)

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # The caller may be gone; the loop need not complain.


async def has_ended(task: asyncio.Task[Any], until_s: float) -> bool:
    """Whether it has ended, waiting until `monotonic_s()` is there; it is never cancelled."""
    done, _ = await asyncio.wait([task], timeout=max(until_s - monotonic_s(), 0.0))
    return bool(done)


async def claimed(claim: Coroutine[Any, Any, T], give_back: Callable[[T], Awaitable[None]]) -> T:
    """What `claim` has claimed, whose caller gives it back if it is cancelled after that.

    Who is cancelled before leaves nothing claimed either: the claim comes to its end and is given
    back. Were it cut off at its commit, it might be there all the same, and nobody would know.
    """
    task = asyncio.create_task(claim)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        if not task.cancelled() and task.exception() is None:
            await give_back(task.result())
        raise


def is_being_cancelled() -> bool:
    """Whether somebody has cancelled the task that asks, whatever has become of that since."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
