"""Bodies as they arrive: what the headers say about one, and reading it within bounds."""

import asyncio
import contextlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

from bulkhead.engine.errors import Invalid
from bulkhead.http.asgi import Message, Receive

DISCARD_BYTES_MAX = 4_000_000
DISCARD_S_MAX = 1.0
BYTES_PER_S = 100_000
"""How fast a large body has to come."""


class BodyTooLarge(Invalid):
    """The body is larger than {size_bytes_max} bytes."""

    code = "body_too_large"
    status = 413


class BodyTooSlow(Invalid):
    """The body did not arrive within {timeout_s} s."""

    code = "body_too_slow"
    status = 408


class BodyUnmeasured(Invalid):
    """The request does not say how long its body is."""

    code = "body_unmeasured"
    status = 411
    hint = "Send Content-Length; a body in chunks is not taken here."


class BodyMisframed(Invalid):
    """The length of the body is not clear: {reason}."""

    code = "body_misframed"
    status = 400


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


@dataclass(frozen=True, slots=True)
class Streamed:
    """Addresses whose bodies are passed on as they come, of any media type: files."""

    method: str
    path: re.Pattern[str]
    """Of the whole path."""
    size_bytes_max: int

    def has(self, method: str, path: str) -> bool:
        """Whether a request is one of these."""
        return method == self.method and self.path.fullmatch(path) is not None


class ClientLeftError(Exception):
    """The client hung up before its body was complete."""


class Incoming:
    """A body that arrives in pieces."""

    def __init__(self, receive: Receive) -> None:
        """Read from `receive`."""
        self._receive = receive
        self._waited_s = 0.0
        self._passed_bytes = 0
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

    async def read_steadily(self, size_bytes_max: int, timeout_s: float) -> bytes:
        """As `read`; raises BodyTooSlow for a body that does not flow.

        It may take `timeout_s`, and a second more for every BYTES_PER_S that have come.
        """
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        pieces: list[bytes] = []
        size_bytes = 0
        try:
            async with asyncio.timeout(timeout_s) as limit:
                while not self.ended:
                    piece = await self._next()
                    size_bytes += len(piece)
                    if size_bytes > size_bytes_max:
                        raise BodyTooLarge(size_bytes_max=size_bytes_max)
                    pieces.append(piece)
                    if not self.ended:
                        limit.reschedule(began_s + timeout_s + size_bytes / BYTES_PER_S)
        except TimeoutError:
            raise BodyTooSlow(timeout_s=timeout_s) from None
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def receive_steadily(self, timeout_s: float) -> Message:
        """The next message of a body that is passed on; raises BodyTooSlow as `read_steadily`.

        Only the time that is spent waiting for the client counts.
        """
        if self.ended:
            return await self._receive()
        began_s = asyncio.get_running_loop().time()
        left_s = timeout_s + self._passed_bytes / BYTES_PER_S - self._waited_s
        try:
            async with asyncio.timeout(left_s):
                message = await self._receive()
        except TimeoutError:
            raise BodyTooSlow(timeout_s=timeout_s) from None
        self._waited_s += asyncio.get_running_loop().time() - began_s
        self._passed_bytes += len(message.get("body", b""))
        self.ended = not message.get("more_body", False)
        return message

    async def discard(
        self,
        declared: int | None,
        *,
        size_bytes_max: int = DISCARD_BYTES_MAX,
        timeout_s: float = DISCARD_S_MAX,
    ) -> bool:
        """Read what is left of it, within limits; False when something is still to come.

        A client that is cut off while it sends does not get to read why.
        """
        if declared is not None and declared > size_bytes_max:
            return self.ended
        size_bytes = 0
        with contextlib.suppress(TimeoutError, ClientLeftError):
            async with asyncio.timeout(timeout_s):
                while not self.ended and size_bytes < size_bytes_max:
                    size_bytes += len(await self._next())
        return self.ended

    async def _next(self) -> bytes:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            raise ClientLeftError
        self.ended = not message.get("more_body", False)
        piece: bytes = message.get("body", b"")
        return piece


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


def replay_body(body: bytes, receive: Receive) -> Receive:
    """Receive the body at once, then whatever comes after it."""
    is_sent = False

    async def replay() -> Message:
        nonlocal is_sent
        if is_sent:
            return await receive()
        is_sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay
