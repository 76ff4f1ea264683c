"""Serves an application from the running event loop, beside the workers, until told to stop.

uvicorn lives wholly in that loop, so that nothing of it runs on when the interpreter ends. The
embedded server of granian parses in a thread of its own; it was no faster under an application
that waits for databases, and one process in ten was aborted by that thread at its exit.
"""

import asyncio
import contextlib
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

import uvicorn

from bulkhead.engine.errors import BulkheadError
from bulkhead.http.asgi import App
from bulkhead.web.http_protocol import BoundedProtocol

try:
    import resource
except ImportError:  # There is no such limit on Windows.
    resource = None  # type: ignore[assignment]

HEADER_TIMEOUT_S = 10.0
DRAIN_S = 10.0
CANCEL_S = 2.0
BACKLOG = 1024
CONNECTIONS_MAX = 8_192
FILES_KEPT_BACK = 512
"""File descriptors that stay free for databases and files whatever clients do."""


class AddressUnusable(BulkheadError):
    """Cannot listen on {host}, port {port}: {reason}."""

    code = "address_unusable"
    hint = "Stop what listens there, or choose another port with --port or BULKHEAD_PORT."


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

    A connection may be idle, or take for the headers of a request, `header_timeout_s`. Leaving the
    block stops accepting, waits up to `drain_s` for the requests in flight and gives the rest up.
    Raises AddressUnusable. Serves no lifespan: the caller owns what `app` uses.
    """
    listening = open_socket(host, port)
    found: int = listening.getsockname()[1]
    server = _Server(_configure(app, header_timeout_s, drain_s))
    task = asyncio.create_task(server.serve([listening]), name="web server")
    try:
        # The socket listens: whoever connects from now on is served as soon as the loop turns.
        yield Serving(host, found)
    finally:
        server.should_exit = True
        await asyncio.wait([task])
        await _end_requests(server)
        listening.close()
        task.result()


async def serve(app: App, host: str, port: int, stop: asyncio.Event) -> None:
    """Serve `app` until `stop` is set, then drain; raises AddressUnusable."""
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


def open_socket(host: str, port: int) -> socket.socket:
    """Listen on an address that nobody else listens on; raises AddressUnusable."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listening = socket.socket(family, kind, protocol)
    except OSError as error:
        raise AddressUnusable(host=host, port=port, reason=error.strerror or error) from None
    with contextlib.ExitStack() as stack:
        stack.callback(listening.close)
        try:
            # Take an address over from connections that are only waiting to be forgotten.
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(address)
            listening.listen(BACKLOG)
            listening.setblocking(False)  # noqa: FBT003
        except OSError as error:
            raise AddressUnusable(host=host, port=port, reason=error.strerror or error) from None
        stack.pop_all()
    return listening


def find_port(host: str, port: int) -> int:
    """The port that is free there, for 0 any; raises AddressUnusable before any work is done."""
    with contextlib.closing(open_socket(host, port)) as listening:
        found: int = listening.getsockname()[1]
    return found


def find_connections_max() -> int:
    """How many clients may be connected at once; raises the soft limit of open files for them."""
    if resource is None:
        return FILES_KEPT_BACK
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = CONNECTIONS_MAX + FILES_KEPT_BACK
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return CONNECTIONS_MAX
    soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return max(soft - FILES_KEPT_BACK, soft // 2)


class _Server(uvicorn.Server):
    """uvicorn's server without its signal handlers: the process has its own."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _configure(app: App, header_timeout_s: float, drain_s: float) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=BoundedProtocol,
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        log_level="critical",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        backlog=BACKLOG,
        limit_concurrency=find_connections_max(),
        timeout_keep_alive=header_timeout_s,  # type: ignore[arg-type]  # handed to call_later
        timeout_graceful_shutdown=drain_s,  # type: ignore[arg-type]  # handed to wait_for
    )


async def _end_requests(server: uvicorn.Server) -> None:
    """Wait until the requests that were given up have told so, then drop their connections."""
    if server.server_state.tasks:
        await asyncio.wait(server.server_state.tasks, timeout=CANCEL_S)
    for connection in list(server.server_state.connections):
        connection.transport.abort()
