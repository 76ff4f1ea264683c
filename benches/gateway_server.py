"""Serves one contestant of the gateway's benches until its standard input ends.

The arguments of `run` are bare, sqlalchemy or gateway, and what the contestant needs to know; it
prints the port it listens on. All of them run in the same server, `bulkhead.web.serving`.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import AsyncExitStack
from pathlib import Path

import uvloop
from gateway_bare import open_bare
from gateway_ours import open_site
from gateway_sqlalchemy import create_app

from bulkhead.http.asgi import App
from bulkhead.web.serving import serving


async def main(name: str, url: str, secret: str, home: Path) -> None:
    """Serve until nobody holds the other end of standard input."""
    async with AsyncExitStack() as stack:
        if name == "bare":
            app: App = await open_bare(url, secret)
        elif name == "sqlalchemy":
            app = create_app(url, secret)
        else:
            app = await stack.enter_async_context(open_site(home))
        address = await stack.enter_async_context(serving(app))
        print(address.port, flush=True)
        await asyncio.to_thread(sys.stdin.read)


def run() -> None:
    """Serve what the arguments of this process say."""
    name, url, secret, home = sys.argv[1:]
    uvloop.run(main(name, url, secret, Path(home)))
