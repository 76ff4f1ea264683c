"""A POST over HTTP/1.1, which is all that delivering a webhook needs."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import SplitResult, urlsplit

from bulkhead.engine.authorities import client_context

TIMEOUT_S = 5.0
STATUS_LINE_PARTS = 2
HEAD_BYTES_MAX = 65_536

Wire = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass(slots=True, eq=False)
class Poster:
    """Sends one request at a time and keeps the connection for the next to the same place."""

    _place: tuple[str, str] | None = None
    _wire: Wire | None = None
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def __call__(self, url: str, headers: Mapping[str, str], body: bytes) -> int:
        """Send `body` to `url` and return the status of the answer; redirects are not followed.

        Raises OSError, TimeoutError, or ValueError when the answer is not HTTP or `url` no address.
        """
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            message = f"'{url}' is not an address of a web server"
            raise ValueError(message)
        request = _render(parts, headers, body)
        async with self._turn, asyncio.timeout(TIMEOUT_S):
            kept = self._wire is not None and self._place == (parts.scheme, parts.netloc)
            try:
                return await self._exchange(parts, request)
            except (OSError, asyncio.IncompleteReadError):
                # A connection that was kept may have been closed meanwhile: that is no failure.
                if not kept:
                    raise ConnectionResetError from None
                return await self._exchange(parts, request)

    def close(self) -> None:
        """Close the connection that is kept."""
        if self._wire is not None:
            self._wire[1].close()
            self._wire = None

    async def _exchange(self, parts: SplitResult, request: bytes) -> int:
        if self._wire is None or self._place != (parts.scheme, parts.netloc):
            self.close()
            secure = parts.scheme == "https"
            port = parts.port or (443 if secure else 80)
            self._wire = await asyncio.open_connection(
                parts.hostname, port, ssl=client_context() if secure else None, limit=HEAD_BYTES_MAX
            )
            self._place = (parts.scheme, parts.netloc)
        reader, writer = self._wire
        try:
            writer.write(request)
            await writer.drain()
            status, keep = await _read_answer(reader)
        except BaseException:
            self.close()
            raise
        if not keep:
            self.close()
        return status


async def post(url: str, headers: Mapping[str, str], body: bytes) -> int:
    """As a `Poster` that keeps nothing."""
    poster = Poster()
    try:
        return await poster(url, headers, body)
    finally:
        poster.close()


def _render(parts: SplitResult, headers: Mapping[str, str], body: bytes) -> bytes:
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    lines = [
        f"POST {path} HTTP/1.1",
        f"host: {parts.netloc.rpartition('@')[2]}",
        f"content-length: {len(body)}",
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


async def _read_answer(reader: asyncio.StreamReader) -> tuple[int, bool]:
    """The status, and whether the connection can be used again."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        if not error.partial:
            raise
        return _status(error.partial.split(b"\r\n")[0]), False
    except asyncio.LimitOverrunError as error:
        message = "the answer is not HTTP"
        raise ValueError(message) from error
    status_line, *fields = head.lower().split(b"\r\n")
    status = _status(status_line.upper())
    length = next((f[15:] for f in fields if f.startswith(b"content-length:")), None)
    if length is None or b"connection: close" in fields or not length.strip().isdigit():
        return status, False
    await reader.readexactly(int(length))
    return status, True


def _status(line: bytes) -> int:
    parts = line.split(maxsplit=STATUS_LINE_PARTS)
    if len(parts) < STATUS_LINE_PARTS or not parts[0].startswith(b"HTTP/1."):
        message = "the answer is not HTTP"
        raise ValueError(message)
    return int(parts[1])
