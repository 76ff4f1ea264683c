"""The address of the client behind proxies that we trust; nobody else's word is taken for it."""

from collections.abc import Sequence

from bulkhead.http.addresses import find_address, is_trusted, parse_networks
from bulkhead.http.asgi import App, Receive, Scope, Send, find_header


class TrustedProxies:
    """Wraps an application and corrects client address and scheme of forwarded requests."""

    def __init__(self, app: App, trusted: Sequence[str]) -> None:
        """Wrap `app`; `trusted` are addresses or networks; raises ConfigurationInvalid."""
        self._app = app
        self._trusted = parse_networks(tuple(trusted))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        client = scope.get("client")
        if client and is_trusted(client[0], self._trusted):
            lines = [
                value.decode("latin-1")
                for name, value in scope["headers"]
                if name == b"x-forwarded-for"
            ]
            if lines:
                scope["client"] = (find_address(client[0], lines, self._trusted), 0)
            if find_header(scope, b"x-forwarded-proto") == b"https":
                scope["scheme"] = "https"
        await self._app(scope, receive, send)
