"""A closed loop of requests over keep-alive connections, driven by callbacks alone.

It costs its process a fifth of what a task for each request would: with one or two processors for
load, server and database together, the load must not be what is measured.
"""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from time import perf_counter, process_time
from typing import cast


@dataclass(slots=True)
class Run:
    """What a run of requests gave; times in seconds."""

    duration_s: float = 0.0
    cpu_s: float = 0.0
    """What the load itself took of a processor."""
    times_s: array[float] = field(default_factory=lambda: array("d"))
    failures: int = 0

    @property
    def per_s(self) -> float:
        """Requests per second that were answered with 2xx."""
        return (len(self.times_s) - self.failures) / self.duration_s

    def quantile_ms(self, share: float) -> float:
        """The time below which `share` of the requests stayed."""
        ordered = sorted(self.times_s)
        return ordered[min(int(share * len(ordered)), len(ordered) - 1)] * 1000


class Connection(asyncio.Protocol):
    """Sends the next request as soon as the answer to the one before is complete."""

    def __init__(self, requests: Iterator[bytes], run: Run, until: float) -> None:
        """Send `requests` until the clock says `until`; record in `run`."""
        self._requests = requests
        self._run = run
        self._until = until
        self._buffer = b""
        self._sent_s = 0.0
        self._transport: asyncio.Transport | None = None
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's derives from nothing
        self._send()

    def data_received(self, data: bytes) -> None:
        """Record an answer that is complete."""
        buffer = self._buffer + data if self._buffer else data
        if not _is_complete(buffer):
            self._buffer = buffer
            return
        self._buffer = b""
        now = perf_counter()
        self._run.times_s.append(now - self._sent_s)
        self._run.failures += buffer[9:10] != b"2"
        if now < self._until:
            self._send()
        elif self._transport is not None:
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """End, well only when it was time to."""
        if self.done.done():
            return
        if perf_counter() < self._until:
            self.done.set_exception(exc or ConnectionError("the server closed the connection"))
        else:
            self.done.set_result(None)

    def _send(self) -> None:
        assert self._transport is not None, "connected"
        request = next(self._requests)
        self._sent_s = perf_counter()
        self._transport.write(request)


async def drive(port: int, connections: list[Iterator[bytes]], seconds: float) -> Run:
    """Send each connection's requests to a local port for `seconds`."""
    run = Run()
    loop = asyncio.get_running_loop()
    started_s, cpu_s = perf_counter(), process_time()
    until = started_s + seconds
    opened = [
        await loop.create_connection(
            lambda requests=requests: Connection(requests, run, until),  # type: ignore[misc]
            "127.0.0.1",
            port,
        )
        for requests in connections
    ]
    for _, connection in opened:
        await connection.done
    run.duration_s, run.cpu_s = perf_counter() - started_s, process_time() - cpu_s
    return run


async def ask(port: int, request: bytes) -> tuple[int, bytes]:
    """Send one request; its answer's status and body."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    answer = b""
    while not _is_complete(answer):
        if not (part := await reader.read(65_536)):
            break
        answer += part
    writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    if b"transfer-encoding: chunked" in head.lower():
        body = _join_chunks(body)
    return int(head[9:12]), body


def _is_complete(buffer: bytes) -> bool:
    end = buffer.find(b"\r\n\r\n")
    if end < 0:
        return False
    head = buffer[:end].lower()
    at = head.find(b"content-length:")
    if at >= 0:
        return len(buffer) - end - 4 >= int(head[at + 15 :].split(b"\r\n", 1)[0])
    return b"chunked" not in head or buffer.endswith(b"0\r\n\r\n")


def _join_chunks(body: bytes) -> bytes:
    joined = b""
    while body:
        size, _, body = body.partition(b"\r\n")
        if not (length := int(size, 16)):
            break
        joined, body = joined + body[:length], body[length + 2 :]
    return joined
