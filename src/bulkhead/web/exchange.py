"""One request and its answer: gives it an id, times it and tells observers how it ended.

The outermost layer. Nothing that goes wrong inside gets past it: a failure is logged and, when no
answer has begun, answered.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass

import structlog

from bulkhead.engine.clock import monotonic_s
from bulkhead.engine.errors import BulkheadError, Unavailable
from bulkhead.engine.ids import new_hex
from bulkhead.http.asgi import (
    REQUEST_ID,
    ROUTE,
    App,
    Message,
    Receive,
    Scope,
    Send,
    find_header,
)
from bulkhead.web.problems import send_problem

log = structlog.get_logger("bulkhead.web")

UNMATCHED = "unmatched"
CLIENT_LEFT = 499
"""What nginx calls a client that hung up before its answer; never sent."""

# structlog adds to its lines whatever it finds under names that begin like this one, and its own
# functions for it take their time.
_LOGGED_ID: ContextVar[str] = ContextVar("structlog_request_id")
_REQUEST_ID = re.compile(rb"[A-Za-z0-9][A-Za-z0-9._:-]{7,127}")


class ServerStopping(Unavailable):
    """The server stops and gave this request up, which may or may not have taken effect."""

    code = "server_stopping"
    hint = "Repeat the request with the same Idempotency-Key, or read before you write again."


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request that has been answered."""

    request_id: str
    method: str
    route: str
    """The template, such as `/commerce/carts/{cart_id}`; never the path, which may hold secrets."""
    status: int
    duration_s: float
    user_id: str | None
    """What the route's dependencies left in `request.state.user_id`."""


Observer = Callable[[Exchange], None]


class ExchangeLayer:
    """Wraps an application and reports every exchange to `observers`."""

    def __init__(self, app: App, observers: Sequence[Observer] = ()) -> None:
        """Wrap `app`."""
        self._app = app
        self._observers = tuple(observers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started_s = monotonic_s()
        request_id = choose_request_id(find_header(scope, b"x-request-id"))
        scope[REQUEST_ID] = request_id
        answer = _Answer(send, request_id.encode())
        token = _LOGGED_ID.set(request_id)
        try:
            await self._app(scope, receive, answer.send)
        except asyncio.CancelledError:
            if not answer.status:
                await send_problem(scope, answer.send, ServerStopping(), close=True)
            raise
        except Exception:
            log.exception("request failed", route=route_of(scope))
            if not answer.status:
                await send_problem(scope, answer.send, BulkheadError(), close=True)
        finally:
            self._report(scope, request_id, answer.status, monotonic_s() - started_s)
            _LOGGED_ID.reset(token)

    def _report(self, scope: Scope, request_id: str, status: int, duration_s: float) -> None:
        user_id = scope.get("state", {}).get("user_id")
        exchange = Exchange(
            request_id,
            scope["method"],
            route_of(scope),
            status or CLIENT_LEFT,
            duration_s,
            None if user_id is None else str(user_id),
        )
        for observe in self._observers:
            observe(exchange)


class _Answer:
    """Passes an answer on, adds the request id and remembers the status."""

    __slots__ = ("_request_id", "_send", "status")

    def __init__(self, send: Send, request_id: bytes) -> None:
        self._send = send
        self._request_id = request_id
        self.status = 0

    def send(self, message: Message) -> Awaitable[None]:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message["headers"] = [
                *message["headers"],
                (b"x-request-id", self._request_id),
                (b"server", b"bulkhead"),
            ]
        return self._send(message)


def choose_request_id(given: bytes | None) -> str:
    """The client's id when it is one (8 to 128 harmless characters), else a new one."""
    if given is not None and _REQUEST_ID.fullmatch(given):
        return given.decode("ascii")
    return new_hex()


def route_of(scope: Scope) -> str:
    """The template of the route that was found, `unmatched` when there was none."""
    told = scope.get(ROUTE)
    if told is not None:
        return str(told)
    # FastAPI keeps the path with the prefixes of all including routers here and nowhere else.
    context = scope.get("fastapi", {}).get("effective_route_context")
    path = getattr(context, "path", None) or getattr(scope.get("route"), "path", None)
    return path if isinstance(path, str) else UNMATCHED
