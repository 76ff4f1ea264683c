"""Serves an application from the running event loop, beside the workers, until told to stop.

granian's embedded server parses HTTP in a thread of its own and calls the application in this
loop. It closes connections whose headers do not arrive in time, idle ones too, and lets requests
in flight finish when it stops.
"""

import asyncio
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.server.embed import Server

from bulkhead.engine.clock import monotonic_s
from bulkhead.engine.errors import BulkheadError
from bulkhead.web.asgi import App, Receive, Scope, Send

HEADER_TIMEOUT_S = 10.0
DRAIN_S = 10.0
CANCEL_S = 1.0
START_S_MAX = 5.0
CONNECTIONS_MAX = 1024


class AddressUnusable(BulkheadError):
    """Cannot listen on {host}, port {port}: {reason}."""

    code = "address_unusable"
    hint = "Stop what listens there, or choose another port with --port or BULKHEAD_PORT."


class ServerStoppedError(Exception):
    """The server ended without being asked to."""


@dataclass(frozen=True, slots=True)
class Serving:
    """A server that accepts connections."""

    host: str
    port: int

    @property
    def url(self) -> str:
        """Where it answers, without a trailing slash."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"


@asynccontextmanager
async def serving(
    app: App,
    host: str = "127.0.0.1",
    port: int = 0,
    *,
    header_timeout_s: float = HEADER_TIMEOUT_S,
    drain_s: float = DRAIN_S,
) -> AsyncIterator[Serving]:
    """Serve `app` inside the block; port 0 takes a free one.

    Leaving the block stops accepting, waits up to `drain_s` for the requests in flight and drops
    the rest. Raises AddressUnusable. Serves no lifespan: the caller owns what `app` uses.
    """
    port = reserve_port(host, port)
    in_flight = _InFlight(app)
    server = Server(
        in_flight,
        address=host,
        port=port,
        interface=Interfaces.ASGINL,
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(header_read_timeout=int(header_timeout_s * 1000)),
        websockets=False,
        backlog=CONNECTIONS_MAX,
        log_enabled=False,
    )
    task = asyncio.create_task(server.serve(), name="web server")
    try:
        await _wait_until_open(host, port, task)
        yield Serving(host, port)
    finally:
        await _stop(server, task, in_flight, drain_s)


async def serve(app: App, host: str, port: int, stop: asyncio.Event) -> None:
    """Serve `app` until `stop` is set, then drain; raises AddressUnusable, ServerStoppedError."""
    async with serving(app, host, port):
        await stop.wait()


@asynccontextmanager
async def stop_on_signals() -> AsyncIterator[asyncio.Event]:
    """Give an event that SIGINT or SIGTERM sets; a second signal ends the process at once."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()

    def on_signal(number: signal.Signals) -> None:
        stop.set()
        loop.remove_signal_handler(number)
        signal.signal(number, signal.SIG_DFL)

    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.getsignal(number) for number in numbers}
    for number in numbers:
        loop.add_signal_handler(number, on_signal, number)
    try:
        yield stop
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)
            signal.signal(number, before[number])


def reserve_port(host: str, port: int) -> int:
    """Find out that nobody listens there, and which port 0 becomes; raises AddressUnusable.

    The server itself shares its port with whoever asks the kernel for that (SO_REUSEPORT), so that
    a second one would start without a word and take half of the requests.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            reason = error.strerror or str(error)
            raise AddressUnusable(host=host, port=port, reason=reason) from None
        found: int = probe.getsockname()[1]
        return found


class _InFlight:
    """Knows the requests being served, so that they can be given up."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._tasks: set[asyncio.Task[object]] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        task = asyncio.current_task()
        assert task is not None, "the server runs each request in a task"
        self._tasks.add(task)
        try:
            await self._app(scope, receive, send)
        finally:
            self._tasks.discard(task)

    def cancel(self) -> None:
        for task in self._tasks:
            task.cancel()


async def _wait_until_open(host: str, port: int, task: asyncio.Task[None]) -> None:
    give_up_at_s = monotonic_s() + START_S_MAX
    while True:
        if task.done():
            raise ServerStoppedError from task.exception()
        try:
            _, writer = await asyncio.open_connection(host, port)
        except OSError as error:
            if monotonic_s() > give_up_at_s:
                reason = "the server did not start in time"
                raise AddressUnusable(host=host, port=port, reason=reason) from error
            await asyncio.sleep(0.01)
        else:
            writer.close()
            return


async def _stop(
    server: Server, task: asyncio.Task[None], in_flight: _InFlight, drain_s: float
) -> None:
    server.stop()  # type: ignore[no-untyped-call]
    _, late = await asyncio.wait([task], timeout=drain_s)
    if late:
        in_flight.cancel()
        _, late = await asyncio.wait([task], timeout=CANCEL_S)
    if late:
        task.cancel()
        await asyncio.wait([task], timeout=CANCEL_S)
