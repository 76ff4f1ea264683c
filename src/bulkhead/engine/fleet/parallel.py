"""A few things at once: more than one after another, and never so many that others starve."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable
from typing import Any, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


async def in_parallel(
    work: Callable[[Item], Awaitable[Result]], items: Iterable[Item], at_once: int
) -> list[Result]:
    """What `work` makes of each of `items`, in their order, at most `at_once` of them at a time.

    The first that raises ends the others; what it raised comes in an ExceptionGroup.
    """
    places = asyncio.Semaphore(at_once)

    async def one(item: Item) -> Result:
        async with places:
            return await work(item)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(item)) for item in items]
    return [task.result() for task in tasks]


async def stop_all(tasks: Collection[asyncio.Task[Any]]) -> None:
    """Cancel all of them, and return once they have ended."""
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks)
