"""What do the layers around the routes cost each request, against bare Starlette?

`python benches/web_layers.py` prints processor time per request, best of several rounds.
"""

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path
from time import process_time
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from bulkhead.engine.settings import Settings
from bulkhead.http.asgi import App, Message
from bulkhead.web.logs import configure_logs
from bulkhead.web.metrics import Metrics
from bulkhead.web.server import WebOptions, add_layers

ROUNDS = 7
REQUESTS = 3_000
BODY = (
    b'{"product_id":"0190c1d2-aaaa-7bbb-8ccc-123456789012","quantity":2,"tags":["a"],"price":12.5}'
)
HEADERS = [
    (b"host", b"localhost"),
    (b"accept", b"application/json"),
    (b"user-agent", b"bench"),
    (b"authorization", b"Bearer " + b"a" * 600),
]
BODY_HEADERS = [
    *HEADERS,
    (b"content-type", b"application/json"),
    (b"content-length", str(len(BODY)).encode()),
]


async def read(request: Request) -> JSONResponse:
    """Answer without looking."""
    del request
    return JSONResponse({"ok": True})


async def write(request: Request) -> JSONResponse:
    """Answer with what was sent."""
    return JSONResponse(await request.json())


async def measure(app: App, method: str, headers: Sequence[tuple[bytes, bytes]]) -> float:
    """Microseconds of processor time per request."""
    messages = {"type": "http.request", "body": BODY if method == "POST" else b""}

    async def receive() -> Message:
        return {**messages, "more_body": False}

    async def send(message: Message) -> None:
        assert message.get("status", 200) == 200, message

    best_s = float("inf")
    for _ in range(ROUNDS):
        started_s = process_time()
        for _ in range(REQUESTS):
            await app(_scope(method, headers), receive, send)
        best_s = min(best_s, process_time() - started_s)
    return best_s / REQUESTS * 1e6


async def main() -> None:
    """Print one line for each method."""
    bare = Starlette(routes=[Route("/x", read), Route("/x", write, methods=["POST"])])
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
        configure_logs(Settings(log_format="json"), nowhere)
        layered = add_layers(bare, (), Settings(), WebOptions(), Metrics())
        for method, headers in (("GET", HEADERS), ("POST", BODY_HEADERS)):
            base_us = await measure(bare, method, headers)
            full_us = await measure(layered, method, headers)
            print(
                f"{method:5} starlette {base_us:5.1f} us   with all layers {full_us:5.1f} us   "
                f"+{full_us - base_us:4.1f} us   x{full_us / base_us:.1f}"
            )


def _scope(method: str, headers: Sequence[tuple[bytes, bytes]]) -> dict[str, Any]:
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "method": method,
        "path": "/x",
        "raw_path": b"/x",
        "query_string": b"",
        "headers": headers,
        "http_version": "1.1",
        "scheme": "http",
        "client": ("127.0.0.1", 1),
        "server": ("localhost", 80),
        "root_path": "",
        "state": {},
    }


if __name__ == "__main__":
    asyncio.run(main())
