"""What runs beside the web site goes on until it is stopped, and no longer."""

import asyncio

from bulkhead.http.asgi import Receive, Scope, Send
from bulkhead.web.compose import Composed


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Nobody asks."""


async def test_a_worker_that_fails_while_it_is_stopped_is_not_started_again() -> None:
    begun = asyncio.Event()

    async def fail_once() -> None:
        is_first = not begun.is_set()
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            if is_first:
                raise ConnectionError

    async with asyncio.timeout(5):
        async with Composed(app, (), [fail_once]).workers():
            await begun.wait()
