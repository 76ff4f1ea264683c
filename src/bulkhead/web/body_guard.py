"""Bodies are read, bounded and checked before any application sees them.

A body is small (1 MB unless a rule says otherwise), arrives in time and, if it is JSON, means one
thing only. Of a refused body only a few megabytes are read and thrown away, so that its sender
gets to read why; if there is more, the connection is closed.
"""

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

from bulkhead.engine.errors import BulkheadError, Invalid
from bulkhead.web.asgi import App, Message, Receive, Scope, Send
from bulkhead.web.problems import send_problem
from bulkhead.web.strict_json import verify_json

JSON = "application/json"
SIZE_BYTES_MAX = 1_000_000
BODY_TIMEOUT_S = 15.0
DISCARD_BYTES_MAX = 4_000_000
DISCARD_S_MAX = 1.0


class BodyTooLarge(Invalid):
    """The body is larger than {size_bytes_max} bytes."""

    code = "body_too_large"
    status = 413


class BodyTooSlow(Invalid):
    """The body did not arrive within {timeout_s} s."""

    code = "body_too_slow"
    status = 408


class BodyMisframed(Invalid):
    """The length of the body is not clear: {reason}."""

    code = "body_misframed"
    status = 400


class ContentTypeUnsupported(BulkheadError):
    """This address takes {expected}, not '{given}'."""

    code = "content_type_unsupported"
    status = 415


class ContentEncodingUnsupported(BulkheadError):
    """Bodies with Content-Encoding '{given}' are not taken."""

    code = "content_encoding_unsupported"
    status = 415
    hint = "Send the body as it is."


@dataclass(frozen=True, slots=True)
class BodyRule:
    """What is taken at addresses that begin with `prefix`; the longest prefix counts."""

    prefix: str
    size_bytes_max: int = SIZE_BYTES_MAX
    content_types: tuple[str, ...] = (JSON,)
    """Media types; `application/json` also stands for `application/*+json`."""


@dataclass(frozen=True, slots=True)
class Declared:
    """What the headers of a request say about its body."""

    length: int | None
    """None when the length only shows at the end."""
    chunked: bool
    content_type: str
    encoding: str
    held_back: bool
    """Whether the client waits for a word before it sends the body."""

    @property
    def is_empty(self) -> bool:
        """Whether there is no body at all."""
        return not self.length and not self.chunked


class ClientLeftError(Exception):
    """The client hung up before its body was complete."""


class Incoming:
    """A body that arrives in pieces."""

    def __init__(self, receive: Receive) -> None:
        """Read from `receive`."""
        self._receive = receive
        self.ended = False

    async def read(self, size_bytes_max: int) -> bytes:
        """Read it whole; raises BodyTooLarge as soon as it is, ClientLeftError."""
        pieces: list[bytes] = []
        size_bytes = 0
        while not self.ended:
            piece = await self._next()
            size_bytes += len(piece)
            if size_bytes > size_bytes_max:
                raise BodyTooLarge(size_bytes_max=size_bytes_max)
            pieces.append(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def discard(self, declared: int | None) -> bool:
        """Read what is left of it, within limits; False when something is still to come."""
        if declared is not None and declared > DISCARD_BYTES_MAX:
            return self.ended
        size_bytes = 0
        with contextlib.suppress(TimeoutError, ClientLeftError):
            async with asyncio.timeout(DISCARD_S_MAX):
                while not self.ended and size_bytes < DISCARD_BYTES_MAX:
                    size_bytes += len(await self._next())
        return self.ended

    async def _next(self) -> bytes:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            raise ClientLeftError
        self.ended = not message.get("more_body", False)
        piece: bytes = message.get("body", b"")
        return piece


class BodyGuard:
    """Wraps an application and lets only sound bodies through to it."""

    def __init__(
        self, app: App, rules: Sequence[BodyRule] = (), *, timeout_s: float = BODY_TIMEOUT_S
    ) -> None:
        """Wrap `app`; addresses without a rule take JSON of at most 1 MB."""
        self._app = app
        self._rules = sorted([*rules, BodyRule("/")], key=lambda rule: -len(rule.prefix))
        self._timeout_s = timeout_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            declared = read_declared(scope["headers"])
        except BodyMisframed as error:
            await send_problem(scope, send, error, close=True)
            return
        if declared.is_empty:
            await self._app(scope, receive, send)
            return
        incoming = Incoming(receive)
        try:
            body = await self._read(scope["path"], declared, incoming)
        except ClientLeftError:
            return
        except BodyTooSlow as error:
            await send_problem(scope, send, error, close=True)
            return
        except BulkheadError as error:
            is_read = not declared.held_back and await incoming.discard(declared.length)
            await send_problem(scope, send, error, close=not is_read)
            return
        await self._app(scope, _replay(body, receive), send)

    async def _read(self, path: str, declared: Declared, incoming: Incoming) -> bytes:
        rule = next((rule for rule in self._rules if path.startswith(rule.prefix)), self._rules[-1])
        verify_declared(declared, rule)
        try:
            async with asyncio.timeout(self._timeout_s):
                body = await incoming.read(rule.size_bytes_max)
        except TimeoutError:
            raise BodyTooSlow(timeout_s=self._timeout_s) from None
        if _is_json(declared.content_type):
            verify_json(body)
        return body


def read_declared(headers: Sequence[tuple[bytes, bytes]]) -> Declared:
    """Read the headers about the body; raises BodyMisframed when they contradict each other."""
    lengths: set[bytes] = set()
    chunked = held_back = False
    content_type = encoding = ""
    for name, value in headers:
        match name:
            case b"content-length":
                lengths.add(value)
            case b"transfer-encoding":
                chunked = True
            case b"content-type":
                content_type = value.decode("latin-1").strip().lower()
            case b"content-encoding":
                encoding = value.decode("latin-1").strip().lower()
            case b"expect":
                held_back = True
    if len(lengths) + chunked > 1:
        raise BodyMisframed(reason="Content-Length and Transfer-Encoding say different things")
    length = lengths.pop() if lengths else None
    if length is not None and not length.isdigit():
        raise BodyMisframed(reason="Content-Length is not a number")
    size_bytes = None if length is None else int(length)
    return Declared(size_bytes, chunked, content_type, encoding, held_back)


def verify_declared(declared: Declared, rule: BodyRule) -> None:
    """Refuse before reading; raises BodyTooLarge, ContentType- or ContentEncodingUnsupported."""
    if declared.length is not None and declared.length > rule.size_bytes_max:
        raise BodyTooLarge(size_bytes_max=rule.size_bytes_max)
    if declared.encoding not in {"", "identity"}:
        raise ContentEncodingUnsupported(given=declared.encoding[:80])
    media_type, _, parameters = declared.content_type.partition(";")
    media_type = media_type.strip()
    is_taken = media_type in rule.content_types or (
        JSON in rule.content_types and _is_json(declared.content_type)
    )
    charset = parameters.partition("charset=")[2].strip(' "')
    if not is_taken or (_is_json(declared.content_type) and charset not in {"", "utf-8"}):
        expected = " or ".join(rule.content_types)
        raise ContentTypeUnsupported(expected=expected, given=declared.content_type[:80])


def _is_json(content_type: str) -> bool:
    media_type = content_type.partition(";")[0].strip()
    return media_type == JSON or (
        media_type.startswith("application/") and media_type.endswith("+json")
    )


def _replay(body: bytes, receive: Receive) -> Receive:
    """Receive the body at once, then whatever comes after it."""
    is_sent = False

    async def replay() -> Message:
        nonlocal is_sent
        if is_sent:
            return await receive()
        is_sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay
