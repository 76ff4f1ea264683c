"""A lean HTTP/1.1 load generator: keep-alive connections, prepared requests, no parsing of bodies.

It shares the processors with the server it measures, so it must cost as little as it can.
"""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from time import perf_counter
from typing import cast


@dataclass
class Result:
    """What a run of requests gave; times in seconds."""

    duration_s: float = 0.0
    times_s: list[float] = field(default_factory=list)
    statuses: dict[int, int] = field(default_factory=dict)

    @property
    def per_s(self) -> float:
        """Requests per second that were answered with 2xx."""
        good = sum(count for status, count in self.statuses.items() if 200 <= status < 300)
        return good / self.duration_s

    def quantile_ms(self, share: float) -> float:
        """The time below which `share` of the requests stayed."""
        ordered = sorted(self.times_s)
        return ordered[min(int(share * len(ordered)), len(ordered) - 1)] * 1000

    def __str__(self) -> str:
        return (
            f"{self.per_s:8.0f}/s   p50 {self.quantile_ms(0.5):7.2f} ms   "
            f"p99 {self.quantile_ms(0.99):7.2f} ms   {dict(sorted(self.statuses.items()))}"
        )


def request_bytes(
    method: str, path: str, headers: dict[str, str] | None = None, body: bytes = b""
) -> bytes:
    """Render a request."""
    lines = [f"{method} {path} HTTP/1.1", "host: bench"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    if body:
        lines += ["content-type: application/json", f"content-length: {len(body)}"]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


class Client(asyncio.Protocol):
    """One keep-alive connection that sends one request at a time."""

    def __init__(self) -> None:
        """Connect with `loop.create_connection(Client, ...)`."""
        self._buffer = b""
        self._answer: asyncio.Future[int] | None = None
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's derives from nothing

    def data_received(self, data: bytes) -> None:
        """Complete the answer when it has arrived as a whole."""
        self._buffer += data
        head = self._buffer.find(b"\r\n\r\n")
        if head < 0:
            return
        lower = self._buffer[:head].lower()
        at = lower.find(b"content-length:")
        length = int(lower[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
        if len(self._buffer) >= head + 4 + length and self._answer is not None:
            status = int(self._buffer[9:12])
            self._buffer = self._buffer[head + 4 + length :]
            answer, self._answer = self._answer, None
            answer.set_result(status)

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail whoever waits."""
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(exc or ConnectionError("closed"))

    async def send(self, request: bytes) -> int:
        """Send a request and return the status of its answer."""
        assert self._transport is not None, "connected"
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._answer

    def close(self) -> None:
        """Close the connection."""
        if self._transport is not None:
            self._transport.close()


async def load(
    host: str, port: int, clients: int, seconds: float, requests: Callable[[int], Iterator[bytes]]
) -> Result:
    """Send what `requests(client)` yields from each of `clients` connections for `seconds`."""
    result = Result()
    loop = asyncio.get_running_loop()
    started = perf_counter()
    until = started + seconds

    async def drive(number: int) -> None:
        _, client = await loop.create_connection(Client, host, port)
        for request in requests(number):
            before = perf_counter()
            if before > until:
                break
            status = await client.send(request)
            result.times_s.append(perf_counter() - before)
            result.statuses[status] = result.statuses.get(status, 0) + 1
        client.close()

    async with asyncio.TaskGroup() as group:
        for number in range(clients):
            group.create_task(drive(number))
    result.duration_s = perf_counter() - started
    return result


def median(values: list[float]) -> float:
    """The median of some figures."""
    return statistics.median(values)
