"""Request lines and headers are bounded and sound before anything is made of them."""

from bulkhead.engine.errors import BulkheadError, Invalid
from bulkhead.http.asgi import App, Receive, Scope, Send
from bulkhead.web.problems import send_problem

URL_BYTES_MAX = 8_192
HEADER_BYTES_MAX = 32_768
HEADERS_MAX = 100
METHODS = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"})


class UrlTooLong(Invalid):
    """The address has more than {bytes_max} bytes."""

    code = "url_too_long"
    status = 414


class UrlInvalid(Invalid):
    """The address is not acceptable: {reason}."""

    code = "url_invalid"
    status = 400


class HeadersTooLarge(Invalid):
    """The headers are too many or too large; {bytes_max} bytes and {count_max} are the limit."""

    code = "headers_too_large"
    status = 431


class HostMissing(Invalid):
    """The request does not name its host."""

    code = "host_missing"
    status = 400


class MethodUnknown(BulkheadError):
    """The method is none that this server knows."""

    code = "method_unknown"
    status = 501


class RequestGuard:
    """Wraps an application and lets only sound request lines and headers through to it."""

    def __init__(self, app: App) -> None:
        """Wrap `app`."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or refuse it."""
        if scope["type"] == "http":
            try:
                verify_request(scope)
            except BulkheadError as error:
                await send_problem(scope, send, error, close=True)
                return
        await self._app(scope, receive, send)


def verify_request(scope: Scope) -> None:
    """Pass, or raise MethodUnknown, UrlTooLong, UrlInvalid, HeadersTooLarge or HostMissing."""
    if scope["method"] not in METHODS:
        raise MethodUnknown
    path: str = scope["path"]
    query: bytes = scope["query_string"]
    if len(path) + len(query) > URL_BYTES_MAX:
        raise UrlTooLong(bytes_max=URL_BYTES_MAX)
    if "\0" in path or b"%00" in query or b"\0" in query:
        raise UrlInvalid(reason="it contains a NUL character")
    if not path.isascii():
        _verify_text(path)
    _verify_headers(scope)


def _verify_text(path: str) -> None:
    # Servers put one or the other in the place of bytes that are not UTF-8.
    if any(character == "\ufffd" or "\ud800" <= character <= "\udfff" for character in path):
        raise UrlInvalid(reason="its path is not UTF-8")


def _verify_headers(scope: Scope) -> None:
    headers = scope["headers"]
    size_bytes = 0
    has_host = scope["http_version"] != "1.1"
    for name, value in headers:
        size_bytes += len(name) + len(value)
        has_host = has_host or (name == b"host" and value != b"")
    if size_bytes > HEADER_BYTES_MAX or len(headers) > HEADERS_MAX:
        raise HeadersTooLarge(bytes_max=HEADER_BYTES_MAX, count_max=HEADERS_MAX)
    if not has_host:
        raise HostMissing
