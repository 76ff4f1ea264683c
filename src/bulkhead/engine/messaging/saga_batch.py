"""Steps of many sagas share a commit when they arrive faster than commits can be made.

There is no timer: one flush is in flight, and whatever arrives meanwhile forms the next batch. A
lone request is flushed at once. Source: group commit, D. DeWitt et al., SIGMOD 1984.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

BATCH_MAX = 64

T = TypeVar("T")
R = TypeVar("R")


@dataclass(slots=True, eq=False)
class Batcher(Generic[T, R]):
    """Collects items for `flush`, which answers each with a result or an exception."""

    flush: Callable[[list[T]], Awaitable[list[R | BaseException]]]
    batch_max: int = BATCH_MAX
    _waiting: list[tuple[T, asyncio.Future[R]]] = field(default_factory=list)
    _flushing: asyncio.Task[None] | None = None

    async def submit(self, item: T) -> R:
        """Have `item` flushed with whatever else is waiting; raises what its result says."""
        future: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if self._flushing is None:
            self._flushing = asyncio.create_task(self._run())
        return await asyncio.shield(future)

    async def drain(self) -> None:
        """Wait until nothing is in flight."""
        while self._flushing is not None:
            await asyncio.wait([self._flushing])

    async def _run(self) -> None:
        try:
            while self._waiting:
                batch = self._waiting[: self.batch_max]
                del self._waiting[: self.batch_max]
                await self._flush(batch)
        finally:
            self._flushing = None

    async def _flush(self, batch: list[tuple[T, asyncio.Future[R]]]) -> None:
        try:
            results = await self.flush([item for item, _ in batch])
        except BaseException as error:
            _answer(batch, [error] * len(batch))
            if not isinstance(error, Exception):
                raise
        else:
            _answer(batch, results)


def _answer(
    batch: list[tuple[T, asyncio.Future[R]]], results: list[R | BaseException] | list[BaseException]
) -> None:
    for (_, future), result in zip(batch, results, strict=True):
        if future.done():
            continue
        if isinstance(result, BaseException):
            future.set_exception(result)
            future.exception()  # The submitter may be gone; the loop need not complain.
        else:
            future.set_result(result)
