"""Bodies are read, bounded and checked before any application sees them.

A body is small (1 MB unless a rule says otherwise), arrives in time and, if it is JSON, means one
thing only. What is refused is not read to its end: the connection is closed instead.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from bulkhead.engine.errors import BulkheadError, Invalid
from bulkhead.web.asgi import App, Message, Receive, Scope, Send
from bulkhead.web.problems import send_problem
from bulkhead.web.strict_json import verify_json

JSON = "application/json"
SIZE_BYTES_MAX = 1_000_000
BODY_TIMEOUT_S = 15.0


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

    @property
    def is_empty(self) -> bool:
        """Whether there is no body at all."""
        return not self.length and not self.chunked


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
            if not declared.is_empty:
                receive = await self._checked(scope["path"], declared, receive)
        except ClientLeftError:
            return
        except BulkheadError as error:
            await send_problem(scope, send, error, close=True)
            return
        await self._app(scope, receive, send)

    async def _checked(self, path: str, declared: Declared, receive: Receive) -> Receive:
        rule = next((rule for rule in self._rules if path.startswith(rule.prefix)), self._rules[-1])
        verify_declared(declared, rule)
        try:
            async with asyncio.timeout(self._timeout_s):
                body = await read_body(receive, rule.size_bytes_max)
        except TimeoutError:
            raise BodyTooSlow(timeout_s=self._timeout_s) from None
        if _is_json(declared.content_type):
            verify_json(body)
        return _replay(body, receive)


class ClientLeftError(Exception):
    """The client hung up before its body was complete."""


def read_declared(headers: Sequence[tuple[bytes, bytes]]) -> Declared:
    """Read the headers about the body; raises BodyMisframed when they contradict each other."""
    lengths: set[bytes] = set()
    chunked = False
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
    if len(lengths) + chunked > 1:
        raise BodyMisframed(reason="Content-Length and Transfer-Encoding say different things")
    length = lengths.pop() if lengths else None
    if length is not None and not length.isdigit():
        raise BodyMisframed(reason="Content-Length is not a number")
    return Declared(None if length is None else int(length), chunked, content_type, encoding)


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


async def read_body(receive: Receive, size_bytes_max: int) -> bytes:
    """Read a whole body; raises BodyTooLarge as soon as it is, ClientLeftError."""
    chunks: list[bytes] = []
    size_bytes = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientLeftError
        chunk = message.get("body", b"")
        size_bytes += len(chunk)
        if size_bytes > size_bytes_max:
            raise BodyTooLarge(size_bytes_max=size_bytes_max)
        chunks.append(chunk)
        if not message.get("more_body", False):
            return chunks[0] if len(chunks) == 1 else b"".join(chunks)


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
