"""Headers that keep browsers from doing with an answer what it was not meant for."""

from bulkhead.http.asgi import App, Message, Receive, Scope, Send

POLICY_OF_DATA = b"default-src 'none'; frame-ancestors 'none'"

_ALWAYS = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"x-frame-options", b"DENY"),
]
_UNLESS_SET = [
    (b"content-security-policy", POLICY_OF_DATA),
    (b"cache-control", b"no-store"),
    (b"cross-origin-resource-policy", b"same-origin"),
]
_HSTS = (b"strict-transport-security", b"max-age=31536000")


class SecurityHeaders:
    """Wraps an application; a route may set a policy and caching of its own."""

    def __init__(self, app: App, *, https: bool = False, cors: bool = False) -> None:
        """Wrap `app`; `https` when clients reach it over TLS, `cors` when other origins may."""
        self._app = app
        self._always = [*_ALWAYS, _HSTS] if https else _ALWAYS
        self._unless_set = _UNLESS_SET[:-1] if cors else _UNLESS_SET

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = message["headers"]
                names = {name for name, _ in given}
                wanted = [header for header in self._unless_set if header[0] not in names]
                message["headers"] = [*given, *self._always, *wanted]
            await send(message)

        await self._app(scope, receive, send_guarded)
