"""HEAD is answered as GET would be, without the body. Source: RFC 9110, sections 9.1 and 9.3.2.

Routes are declared for GET only; whether a HEAD is for anything, their answer to GET tells.
"""

from bulkhead.http.asgi import App, Message, Receive, Scope, Send


class HeadRequests:
    """Wraps an application that knows GET."""

    def __init__(self, app: App) -> None:
        """Wrap `app`."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return
        # The same scope, because layers outside of this one read what routes leave in it.
        scope["method"] = "GET"
        try:
            await self._app(scope, receive, _without_body(scope, send))
        finally:
            scope["method"] = "HEAD"


def _without_body(scope: Scope, send: Send) -> Send:
    async def answer(message: Message) -> None:
        if message["type"] != "http.response.start":
            return
        # The server, too, goes by the method when it counts what belongs to the answer.
        scope["method"] = "HEAD"
        await send(message)
        await send({"type": "http.response.body", "body": b""})

    return answer
