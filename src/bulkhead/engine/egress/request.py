"""One HTTP request to a URL that a customer names: pinned, verified, bounded, no redirects.

A redirect is an answer like any other: whoever wants to follow it sends another request, which is
checked like the first.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, urlsplit

import h11

from bulkhead.engine.authorities import client_context
from bulkhead.engine.errors import Invalid, Unavailable

if TYPE_CHECKING:
    import socket

    from bulkhead.engine.egress.guard import Egress, Target

READ_BYTES: Final = 65_536
HEAD_BYTES_MAX: Final = 65_536
_OWN_HEADERS: Final = frozenset({"host", "content-length", "transfer-encoding", "connection"})


class AnswerUnusable(Unavailable):
    """The answer of '{host}' cannot be used: {reason}."""

    code = "answer_unusable"
    status = 502


@dataclass(frozen=True, slots=True)
class Bounds:
    """How long all of a request may take, and how large its answer may be."""

    timeout_s: float = 10.0
    body_bytes_max: int = 1_000_000


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server answered; nothing in it is to be trusted."""

    status: int
    headers: tuple[tuple[str, str], ...]
    """Names in lower case."""
    body: bytes

    def header(self, name: str) -> str | None:
        """The first header called `name`, in lower case."""
        return next((value for key, value in self.headers if key == name), None)


@dataclass(frozen=True, slots=True)
class Request:
    """A request to `url`; raises Invalid for headers that HTTP does not know."""

    method: str
    url: str
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""

    def __post_init__(self) -> None:
        if not self.method.isascii() or not self.method.isalpha():
            raise Invalid(reason="a method is a word")
        if taken := {name.lower() for name, _ in self.headers} & _OWN_HEADERS:
            raise Invalid(reason=f"header '{min(taken)}' is set from the request itself")


async def send(
    egress: Egress,
    request: Request,
    bounds: Bounds = Bounds(),
    *,
    context: ssl.SSLContext | None = None,
) -> Answer:
    """Send `request` where `egress` allows and return the answer, a redirect too.

    `context` has certificates to trust instead of the system's. Raises HostRefused, PortRefused,
    HostUnreachable, AnswerUnusable, and Invalid for headers that HTTP does not have.
    """
    target = await egress.check_url(request.url)
    try:
        async with asyncio.timeout(bounds.timeout_s):
            wire = await target.connect(timeout_s=bounds.timeout_s)
            return await _exchange(target, wire, request, bounds, context)
    except TimeoutError:
        reason = f"it was not complete within {bounds.timeout_s:g} s"
    except ssl.SSLError as error:
        reason = getattr(error, "verify_message", "") or "there is no trustworthy TLS connection"
    except h11.RemoteProtocolError:
        reason = "it is not HTTP"
    except h11.LocalProtocolError as error:
        raise Invalid(reason="the headers are not those of HTTP") from error
    except OSError as error:
        reason = error.strerror or type(error).__name__
    raise AnswerUnusable(host=target.host, reason=reason)


async def _exchange(
    target: Target,
    wire: socket.socket,
    request: Request,
    bounds: Bounds,
    context: ssl.SSLContext | None,
) -> Answer:
    parts = urlsplit(request.url)
    secure = parts.scheme == "https"
    try:
        reader, writer = await asyncio.open_connection(
            sock=wire,
            ssl=(context or client_context()) if secure else None,
            server_hostname=target.host if secure else None,
        )
    except BaseException:
        wire.close()
        raise
    try:
        talk = h11.Connection(h11.CLIENT, max_incomplete_event_size=HEAD_BYTES_MAX)
        port = "" if target.port == (443 if secure else 80) else f":{target.port}"
        host = f"[{target.host}]" if ":" in target.host else target.host
        path = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~")
        query = f"?{quote(parts.query, safe='/%:@!$&()*+,;=~?')}" if parts.query else ""
        head = h11.Request(
            method=request.method.upper(),
            target=path + query,
            headers=[
                ("host", host + port),
                ("connection", "close"),
                ("accept-encoding", "identity"),
                ("content-length", str(len(request.body))),
                *request.headers,
            ],
        )
        for event in (head, h11.Data(data=request.body), h11.EndOfMessage()):
            writer.write(talk.send(event) or b"")
        await writer.drain()
        return await _read(target, talk, reader, bounds.body_bytes_max)
    finally:
        writer.transport.abort()


async def _read(
    target: Target, talk: h11.Connection, reader: asyncio.StreamReader, bytes_max: int
) -> Answer:
    head: h11.Response | None = None
    body = bytearray()
    while True:
        event = talk.next_event()
        if event is h11.NEED_DATA:
            talk.receive_data(await reader.read(READ_BYTES))
        elif isinstance(event, h11.Response):
            head = event
        elif isinstance(event, h11.Data):
            body += event.data
            if len(body) > bytes_max:
                raise AnswerUnusable(
                    host=target.host, reason=f"it is larger than {bytes_max} bytes"
                )
        elif isinstance(event, h11.EndOfMessage) and head is not None:
            return Answer(head.status_code, tuple(_texts(head.headers)), bytes(body))
        elif not isinstance(event, h11.InformationalResponse):
            raise AnswerUnusable(host=target.host, reason="it is not HTTP")


def _texts(headers: Iterable[tuple[bytes, bytes]]) -> Iterable[tuple[str, str]]:
    return ((name.decode("latin-1"), value.decode("latin-1")) for name, value in headers)
