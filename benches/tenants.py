"""Many tenants for benchmarks, made a few at once and left to the temporary folder afterwards."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from time import perf_counter

from bulkhead.engine.testing import TestFleet

AT_ONCE = 4


def abandon(driver: object) -> None:
    """Kill an embedded server; to stop, or to drop a database, would make durable what goes."""
    pid = getattr(driver, "postmaster_pid", None)
    if pid is not None:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGQUIT)


@asynccontextmanager
async def filled(made: TestFleet, tenants: int) -> AsyncIterator[TestFleet]:
    """The fleet with so many tenants; their databases go with their server, not one by one."""
    began_s = perf_counter()
    await made.add("shared")  # It makes the template.
    hands = asyncio.Semaphore(AT_ONCE)

    async def add() -> None:
        async with hands:
            await made.add("shared")

    async with asyncio.TaskGroup() as group:
        for _ in range(tenants - 1):
            group.create_task(add())
    seconds = perf_counter() - began_s
    print(
        f"{tenants} tenants made in {seconds:.0f} s, {tenants / seconds:.0f} a second", flush=True
    )
    try:
        yield made
    finally:
        made.specs.clear()
