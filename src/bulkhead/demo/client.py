"""A small HTTP/1.1 client: one keep-alive connection, patient with a busy server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from bulkhead.engine.clock import monotonic_s

TIMEOUT_S = 60.0
TRIES_MAX = 8
PAUSE_S = 0.2
BUSY = frozenset({202, 425, 429, 503})
"""Statuses of answers that ask to be asked again."""
BUSY_CODES = frozenset({"saga_in_progress"})

Headers = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server said, and after how long."""

    status: int
    body: Any
    """The parsed JSON, or the text of anything else."""
    duration_s: float

    @property
    def code(self) -> str:
        """The code of a refusal; empty when it is none."""
        return str(self.body.get("code", "")) if isinstance(self.body, dict) else ""

    @property
    def is_final(self) -> bool:
        """Whether asking again would give the same answer."""
        return self.status not in BUSY and self.code not in BUSY_CODES


@dataclass(slots=True, eq=False)
class Client:
    """A connection to the server at `host` and `port`; opened again when it was closed."""

    host: str
    port: int
    _reader: asyncio.StreamReader | None = field(init=False, default=None)
    _writer: asyncio.StreamWriter | None = field(init=False, default=None)

    async def __aenter__(self) -> Self:
        """Connect with the first request."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the connection."""
        self._drop()

    async def ask(
        self, method: str, path: str, body: object = None, headers: Headers | None = None
    ) -> Answer:
        """Send a request and return its answer, whatever it is; raises OSError, TimeoutError.

        A connection that was lost is opened again and the request repeated: send a key with it.
        """
        request = render_request(method, path, body, headers or {})
        for left in reversed(range(TRIES_MAX)):
            try:
                return await self._exchange(request)
            except (ConnectionError, asyncio.IncompleteReadError):
                self._drop()
                if not left:
                    raise
                await asyncio.sleep(PAUSE_S)
        raise AssertionError("the last try returns or raises")

    async def settle(
        self, method: str, path: str, body: object = None, headers: Headers | None = None
    ) -> Answer:
        """As `ask`, again and again with the same request until the answer is final."""
        answer = await self.ask(method, path, body, headers)
        for _ in range(TRIES_MAX):
            if answer.is_final:
                break
            await asyncio.sleep(PAUSE_S)
            answer = await self.ask(method, path, body, headers)
        return answer

    async def _exchange(self, request: bytes) -> Answer:
        began_s = monotonic_s()
        async with asyncio.timeout(TIMEOUT_S):
            if self._reader is None or self._writer is None:
                self._reader, self._writer = await asyncio.open_connection(self.host, self.port)
            self._writer.write(request)
            status, headers = parse_head(await self._reader.readuntil(b"\r\n\r\n"))
            body = await self._reader.readexactly(int(headers.get("content-length", "0")))
        if headers.get("connection", "").lower() == "close":
            self._drop()
        return Answer(status, _parse_body(headers, body), monotonic_s() - began_s)

    def _drop(self) -> None:
        if self._writer is not None:
            self._writer.close()
        self._reader = self._writer = None


def render_request(method: str, path: str, body: object, headers: Headers) -> bytes:
    """Render a request with its body as JSON."""
    payload = b"" if body is None else json.dumps(body).encode()
    lines = [f"{method} {path} HTTP/1.1", "host: localhost", "accept: application/json"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if body is not None:
        lines += ["content-type: application/json", f"content-length: {len(payload)}"]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + payload


def parse_head(head: bytes) -> tuple[int, dict[str, str]]:
    """The status and the headers of an answer, their names in lower case."""
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = dict(line.split(":", 1) for line in lines if line)
    return int(first.split(" ", 2)[1]), {
        name.strip().lower(): value.strip() for name, value in headers.items()
    }


def _parse_body(headers: Headers, body: bytes) -> Any:  # noqa: ANN401
    if "json" in headers.get("content-type", ""):
        return json.loads(body)
    return body.decode(errors="replace")
