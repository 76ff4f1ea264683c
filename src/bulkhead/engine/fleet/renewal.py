"""Leases that are kept for as long as the work under them takes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Final

from bulkhead.engine.errors import BulkheadError

RENEWALS: Final = 4
"""In so many parts of a lease; all but one of them may fail."""

log = logging.getLogger(__name__)


class LeaseLost(Exception):
    """Somebody else has what was leased."""


@asynccontextmanager
async def renewing(
    renew: Callable[[], Awaitable[bool]], lease_s: float, what: str
) -> AsyncIterator[None]:
    """Renew a lease while the block lasts, which is ended when the lease is lost: raises LeaseLost.

    `renew` says whether it still is this process's; it is never cut off. A registry that does not
    answer is asked again later.
    """
    ended = asyncio.Event()

    async def keep() -> None:
        while not await _comes(ended, lease_s / RENEWALS):
            try:
                if not await renew():
                    ours.reschedule(asyncio.get_running_loop().time())
                    return
            except BulkheadError as error:
                log.warning("the lease of %s could not be renewed: %s", what, error)

    try:
        async with asyncio.timeout(None) as ours:
            keeping = asyncio.create_task(keep())
            try:
                yield
            finally:
                ended.set()
                await keeping
    except TimeoutError as late:
        if not ours.expired():
            raise
        raise LeaseLost from late


async def _comes(event: asyncio.Event, timeout_s: float) -> bool:
    with suppress(TimeoutError):
        async with asyncio.timeout(timeout_s):
            await event.wait()
    return event.is_set()
