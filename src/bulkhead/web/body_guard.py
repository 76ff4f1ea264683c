"""Bodies are read, bounded and checked before any application sees them; files as they come.

A body is small (1 MB unless a rule says otherwise), arrives in time and, if it is JSON, means one
thing only. Of a refused body only a few megabytes are read and thrown away, so that its sender
gets to read why; if there is more, the connection is closed.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from bulkhead.engine.errors import BulkheadError
from bulkhead.http.asgi import App, Message, Receive, Scope, Send
from bulkhead.http.bodies import (
    BodyMisframed,
    BodyTooLarge,
    BodyTooSlow,
    BodyUnmeasured,
    ClientLeftError,
    Declared,
    Incoming,
    Streamed,
    read_declared,
    replay_body,
)
from bulkhead.web.problems import send_problem
from bulkhead.web.strict_json import verify_json

JSON = "application/json"
SIZE_BYTES_MAX = 1_000_000
BODY_TIMEOUT_S = 15.0


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


class BodyGuard:
    """Wraps an application and lets only sound bodies through to it."""

    def __init__(
        self,
        app: App,
        rules: Sequence[BodyRule] = (),
        *,
        streamed: Sequence[Streamed] = (),
        timeout_s: float = BODY_TIMEOUT_S,
    ) -> None:
        """Wrap `app`; addresses without a rule take JSON of at most 1 MB."""
        self._app = app
        self._streamed = tuple(streamed)
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
        for rule in self._streamed:
            if rule.has(scope["method"], scope["path"]):
                await self._pass_on(rule, declared, incoming, scope, send)
                return
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
        await self._app(scope, replay_body(body, receive), send)

    async def _pass_on(
        self, rule: Streamed, declared: Declared, incoming: Incoming, scope: Scope, send: Send
    ) -> None:
        """Let the application read the body as it comes; what it leaves is read and thrown away."""

        async def receive() -> Message:
            return await incoming.receive_steadily(self._timeout_s)

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start" and not incoming.ended:
                is_read = not declared.held_back and await incoming.discard(declared.length)
                if not is_read:
                    message["headers"] = [*message["headers"], (b"connection", b"close")]
            await send(message)

        try:
            verify_streamed(declared, rule)
        except BulkheadError as error:
            is_read = not declared.held_back and await incoming.discard(declared.length)
            await send_problem(scope, send, error, close=not is_read)
            return
        await self._app(scope, receive, answer)

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


def verify_streamed(declared: Declared, rule: Streamed) -> None:
    """Refuse before reading; raises BodyUnmeasured, BodyTooLarge, ContentEncodingUnsupported."""
    if declared.length is None:
        raise BodyUnmeasured
    if declared.length > rule.size_bytes_max:
        raise BodyTooLarge(size_bytes_max=rule.size_bytes_max)
    if declared.encoding not in {"", "identity"}:
        raise ContentEncodingUnsupported(given=declared.encoding[:80])


def _is_json(content_type: str) -> bool:
    media_type = content_type.partition(";")[0].strip()
    return media_type == JSON or (
        media_type.startswith("application/") and media_type.endswith("+json")
    )
