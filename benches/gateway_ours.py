"""The gateway as the benches run it: the whole site, with its layers, limits and logs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from gateway_shop import NAME, POOL_SIZE, declare

from bulkhead.engine.settings import Settings
from bulkhead.engine.system import open_system
from bulkhead.gateway.gateway import open_gateway
from bulkhead.http.asgi import App
from bulkhead.web.logs import configure_logs
from bulkhead.web.server import Mount, WebOptions, create_site


@asynccontextmanager
async def open_site(home: Path) -> AsyncIterator[App]:
    """Open the site over the databases of a server that runs already; one log line a request."""
    settings = Settings(home=home, pool_size=POOL_SIZE, server_connections=40, log_format="json")
    async with AsyncExitStack() as stack:
        log = stack.enter_context((home / "bench.log").open("w", encoding="utf-8"))
        configure_logs(settings, log)
        system = await stack.enter_async_context(
            open_system(declare(home.parent), settings, provision=False)
        )
        gateway = open_gateway(system, None)
        for rest in gateway.rests:
            await rest.start()
            stack.push_async_callback(rest.close)
        mount = Mount(NAME, "Shop", (), tuple(system.router), gateway.services)
        yield create_site([mount], settings, WebOptions()).app
