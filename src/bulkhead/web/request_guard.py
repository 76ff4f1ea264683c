"""Lets only sound request lines and headers through to the routes."""

from bulkhead.engine.errors import BulkheadError
from bulkhead.http.asgi import App, Receive, Scope, Send
from bulkhead.http.heads import HeadLimits, verify_head
from bulkhead.web.problems import send_problem


class RequestGuard:
    """Wraps an application and refuses other requests with a problem."""

    def __init__(self, app: App, limits: HeadLimits | None = None) -> None:
        """Wrap `app`."""
        self._app = app
        self._limits = limits or HeadLimits()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or refuse it."""
        if scope["type"] == "http":
            try:
                verify_head(scope, self._limits)
            except BulkheadError as error:
                await send_problem(scope, send, error, close=True)
                return
        await self._app(scope, receive, send)
