"""A proxy on loopback for clients that look names up by themselves, such as object stores'.

Such a client is told to use the proxy, which takes CONNECT only, checks the host as `Egress` does,
and connects to the pinned address; TLS stays between the client and the server. Whoever uses it
needs its password, so that no other program on the machine gets a way past a firewall.
"""

from __future__ import annotations

import asyncio
import base64
import hmac
import logging
import re
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from bulkhead.engine.clock import monotonic_s
from bulkhead.engine.egress.guard import Service
from bulkhead.engine.errors import BulkheadError

if TYPE_CHECKING:
    from bulkhead.engine.egress.guard import Egress

log = logging.getLogger(__name__)

HEAD_BYTES_MAX: Final = 8192
HEAD_TIMEOUT_S: Final = 5.0
CONNECT_TIMEOUT_S: Final = 10.0
IDLE_S_MAX: Final = 60.0
TUNNELS_MAX: Final = 256
READ_BYTES: Final = 65_536
_CONNECT: Final = re.compile(
    rb"CONNECT (?:\[([0-9A-Fa-f:.]+)\]|([^\s:\[\]]+)):(\d{1,5}) HTTP/1\.[01]"
)


@dataclass(slots=True, eq=False)
class EgressProxy:
    """Tunnels to where `egress` allows."""

    egress: Egress
    _token: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)
    _port: int = 0
    _tunnels: int = 0

    @property
    def url(self) -> str:
        """What a client is given as its proxy; holds the password."""
        return f"http://bulkhead:{self._token}@127.0.0.1:{self._port}"

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[EgressProxy]:
        """Serve inside the block."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=HEAD_BYTES_MAX)
        self._port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._tunnels += 1
        try:
            async with asyncio.timeout(HEAD_TIMEOUT_S):
                head = await reader.readuntil(b"\r\n\r\n")
            await self._tunnel(head, reader, writer)
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # Whoever it was has gone, or does not speak HTTP.
        finally:
            self._tunnels -= 1
            writer.close()

    async def _tunnel(
        self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        line, *headers = head.split(b"\r\n")
        wanted = _CONNECT.fullmatch(line)
        if not self._is_ours(headers):
            return _refuse(writer, 407, "Proxy Authentication Required")
        if wanted is None or self._tunnels > TUNNELS_MAX:
            return _refuse(writer, 405 if wanted is None else 503, "Not Possible")
        host = (wanted[1] or wanted[2]).decode("ascii", "replace")
        try:
            target = await self.egress.check(host, int(wanted[3]), Service.HTTPS)
            wire = await target.connect(timeout_s=CONNECT_TIMEOUT_S)
        except BulkheadError as error:
            log.warning("%s", error)
            return _refuse(writer, 403 if error.status < 500 else 502, "Refused")  # noqa: PLR2004
        there, away = await asyncio.open_connection(sock=wire)
        clock = _Clock()
        writer.write(b"HTTP/1.1 200 Connected\r\n\r\n")
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(_relay(reader, away, clock))
                group.create_task(_relay(there, writer, clock))
        except* (OSError, TimeoutError):
            pass
        finally:
            away.close()
        return None

    def _is_ours(self, headers: list[bytes]) -> bool:
        expected = base64.b64encode(f"bulkhead:{self._token}".encode())
        for header in headers:
            name, _, value = header.partition(b":")
            if name.strip().lower() == b"proxy-authorization":
                word, _, given = value.strip().partition(b" ")
                return word.lower() == b"basic" and hmac.compare_digest(given.strip(), expected)
        return False


def _refuse(writer: asyncio.StreamWriter, status: int, reason: str) -> None:
    writer.write(f"HTTP/1.1 {status} {reason}\r\ncontent-length: 0\r\n\r\n".encode())


@dataclass(slots=True)
class _Clock:
    """When something last went through a tunnel, in either direction."""

    at_s: float = field(default_factory=monotonic_s)


async def _relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, clock: _Clock) -> None:
    while True:
        try:
            async with asyncio.timeout(IDLE_S_MAX):
                data = await reader.read(READ_BYTES)
        except TimeoutError:
            if monotonic_s() - clock.at_s < IDLE_S_MAX:
                continue
            raise
        clock.at_s = monotonic_s()
        if not data:
            break
        writer.write(data)
        await writer.drain()
        clock.at_s = monotonic_s()
    if writer.can_write_eof():
        writer.write_eof()
