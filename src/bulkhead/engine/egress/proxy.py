"""A proxy on loopback for clients that look names up by themselves, such as object stores'.

Such a client is told to use the proxy, which checks the host as `Egress` does, and connects to the
pinned address. By CONNECT, TLS stays between the client and the server. A request to an address of
`http`, which only what the operator allows may have, is passed on alone, and its connection ends
with it. Whoever uses the proxy needs its password, so that no other program on the machine gets a
way past a firewall.
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
ASK_BYTES_MIN: Final = 100
"""Less than this is no request: TLS answers a change of keys by itself with some 30 bytes."""
_CONNECT: Final = re.compile(
    rb"CONNECT (?:\[([0-9A-Fa-f:.]+)\]|([^\s:\[\]]+)):(\d{1,5}) HTTP/1\.[01]"
)
_PLAIN: Final = re.compile(rb"(GET|HEAD|PUT|POST|DELETE) (http://([^\s/?#]+)[^\s#]*) HTTP/1\.1")
_LENGTH: Final = re.compile(rb"\d{1,18}")
_NOT_PASSED_ON: Final = frozenset(
    {b"connection", b"keep-alive", b"proxy-authorization", b"proxy-connection", b"upgrade"}
)


@dataclass(slots=True, eq=False)
class EgressProxy:
    """Tunnels to where `egress` allows."""

    egress: Egress
    received_bytes_max: int | None = None
    """How much may come back in answer to one request, for clients that keep all of it in memory.

    A tunnel cannot be looked into: what is sent through it begins another request.
    """
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
        if self._tunnels > TUNNELS_MAX:
            return _refuse(writer, 503, "Not Possible")
        if (plain := _PLAIN.fullmatch(line)) is not None:
            return await self._pass_on(plain, headers, reader, writer)
        if wanted is None:
            return _refuse(writer, 405, "Not Possible")
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
                group.create_task(_relay(reader, away, clock, is_asking=True))
                group.create_task(_relay(there, writer, clock, self.received_bytes_max))
        except* (OSError, TimeoutError):
            pass
        finally:
            away.close()
        return None

    async def _pass_on(
        self,
        plain: re.Match[bytes],
        headers: list[bytes],
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        named = [
            (header.partition(b":")[0].strip().lower(), header) for header in headers if header
        ]
        lengths = [
            header.partition(b":")[2].strip() for name, header in named if name == b"content-length"
        ]
        if any(name == b"transfer-encoding" for name, _ in named) or len(lengths) > 1:
            return _refuse(writer, 411, "Length Required")
        length = lengths[0] if lengths else b"0"
        if not _LENGTH.fullmatch(length):
            return _refuse(writer, 400, "Bad Request")
        try:
            target = await self.egress.check_url(f"http://{plain[3].decode('ascii', 'replace')}/")
            wire = await target.connect(timeout_s=CONNECT_TIMEOUT_S)
        except BulkheadError as error:
            log.warning("%s", error)
            return _refuse(writer, 403 if error.status < 500 else 502, "Refused")  # noqa: PLR2004
        there, away = await asyncio.open_connection(sock=wire)
        path = plain[2].removeprefix(b"http://" + plain[3]) or b"/"
        path = path if path.startswith(b"/") else b"/" + path
        kept = [header for name, header in named if name not in _NOT_PASSED_ON]
        head = [plain[1] + b" " + path + b" HTTP/1.1", *kept, b"connection: close", b"", b""]
        away.write(b"\r\n".join(head))
        clock = _Clock()
        try:
            async with asyncio.TaskGroup() as group:
                sending = group.create_task(_send(reader, away, int(length), clock))
                writer.write(await _read_head(there))
                await _relay(there, writer, clock, self.received_bytes_max)
                sending.cancel()
        except* (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # What is no answer is cut off.
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
    """When something last went through a tunnel, in either direction, and how much came back."""

    at_s: float = field(default_factory=monotonic_s)
    answered_bytes: int = 0
    """Since something was last sent."""


async def _relay(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    clock: _Clock,
    bytes_max: int | None = None,
    *,
    is_asking: bool = False,
) -> None:
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
        if not is_asking:
            clock.answered_bytes += len(data)
        elif len(data) >= ASK_BYTES_MIN:
            clock.answered_bytes = 0
        if bytes_max is not None and clock.answered_bytes > bytes_max:
            message = f"more than {bytes_max} bytes came in answer to one request"
            raise ConnectionError(message)
        writer.write(data)
        await writer.drain()
        clock.at_s = monotonic_s()
    if writer.can_write_eof():
        writer.write_eof()


async def _read_head(reader: asyncio.StreamReader) -> bytes:
    """The head of an answer, which says that the connection ends, whatever the server says."""
    async with asyncio.timeout(IDLE_S_MAX):
        head = await reader.readuntil(b"\r\n\r\n")
    return head.removesuffix(b"\r\n") + b"connection: close\r\n\r\n"


async def _send(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, left_bytes: int, clock: _Clock
) -> None:
    """Pass the body of one request on; raises ConnectionError for whatever comes after it."""
    while left_bytes and (data := await reader.read(min(left_bytes, READ_BYTES))):
        left_bytes -= len(data)
        clock.at_s = monotonic_s()
        writer.write(data)
        await writer.drain()
    await reader.read(1)
    message = "the client has left, or sends another request over the same connection"
    raise ConnectionError(message)
