"""A POST over HTTP/1.1, which is all that delivering a webhook needs."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from urllib.parse import urlsplit

TIMEOUT_S = 5.0
STATUS_LINE_PARTS = 2


async def post(url: str, headers: Mapping[str, str], body: bytes) -> int:
    """Send `body` to `url` and return the status of the answer; redirects are not followed.

    Raises OSError, TimeoutError, or ValueError when the answer is not HTTP or `url` no address.
    """
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        message = f"'{url}' is not an address of a web server"
        raise ValueError(message)
    secure = parts.scheme == "https"
    port = parts.port or (443 if secure else 80)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    lines = [
        f"POST {path} HTTP/1.1",
        f"host: {parts.netloc.rpartition('@')[2]}",
        f"content-length: {len(body)}",
        "connection: close",
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    request = "\r\n".join([*lines, "", ""]).encode("latin-1") + body
    async with asyncio.timeout(TIMEOUT_S):
        reader, writer = await asyncio.open_connection(
            parts.hostname, port, ssl=True if secure else None
        )
        try:
            writer.write(request)
            await writer.drain()
            return _status(await reader.readline())
        finally:
            writer.close()


def _status(line: bytes) -> int:
    parts = line.split(maxsplit=STATUS_LINE_PARTS)
    if len(parts) < STATUS_LINE_PARTS or not parts[0].startswith(b"HTTP/1."):
        message = "the answer is not HTTP"
        raise ValueError(message)
    return int(parts[1])
