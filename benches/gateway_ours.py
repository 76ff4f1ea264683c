"""The gateway as the benches run it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from bulkhead.http.asgi import App


@asynccontextmanager
async def open_gateway(home: Path) -> AsyncIterator[App]:
    """Open it."""
    raise NotImplementedError
    yield
