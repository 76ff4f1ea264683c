"""Request lines and headers, bounded and sound before anything is made of them."""

from dataclasses import dataclass
from itertools import chain

from bulkhead.engine.errors import BulkheadError, Invalid
from bulkhead.http.asgi import Scope

METHODS = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"})


class UrlTooLong(Invalid):
    """The address has more than {bytes_max} bytes."""

    code = "url_too_long"
    status = 414
    hint = "Ask for less at once, or send what is long in a body."


class UrlInvalid(Invalid):
    """The address is not acceptable: {reason}."""

    code = "url_invalid"
    status = 400


class HeadersTooLarge(Invalid):
    """The headers are too many or too large; {bytes_max} bytes and {count_max} are the limit."""

    code = "headers_too_large"
    status = 431


class HostMissing(Invalid):
    """The request does not name its host, or more than one."""

    code = "host_missing"
    status = 400


class MethodUnknown(BulkheadError):
    """The method is none that this server knows."""

    code = "method_unknown"
    status = 501


@dataclass(frozen=True, slots=True)
class HeadLimits:
    """How large a head may be."""

    url_bytes_max: int = 8_192
    """Of path and query together, as they were sent."""
    header_bytes_max: int = 32_768
    """Of all names and values together."""
    headers_max: int = 100


def verify_head(scope: Scope, limits: HeadLimits) -> None:
    """Pass, or raise MethodUnknown, UrlTooLong, UrlInvalid, HeadersTooLarge or HostMissing."""
    if scope["method"] not in METHODS:
        raise MethodUnknown
    path: str = scope["path"]
    query: bytes = scope["query_string"]
    if len(scope.get("raw_path") or path) + len(query) > limits.url_bytes_max:
        raise UrlTooLong(bytes_max=limits.url_bytes_max)
    if "\0" in path or b"%00" in query or b"\0" in query:
        raise UrlInvalid(reason="it contains a NUL character")
    if not path.isascii():
        _verify_text(path)
    _verify_headers(scope, limits)


def _verify_text(path: str) -> None:
    # Servers put one or the other in the place of bytes that are not UTF-8.
    if any(character == "\ufffd" or "\ud800" <= character <= "\udfff" for character in path):
        raise UrlInvalid(reason="its path is not UTF-8")


def _verify_headers(scope: Scope, limits: HeadLimits) -> None:
    headers = scope["headers"]
    # Joined, because every request is measured and a loop over its headers takes longer.
    size_bytes = len(b"".join(chain.from_iterable(headers)))
    if size_bytes > limits.header_bytes_max or len(headers) > limits.headers_max:
        raise HeadersTooLarge(bytes_max=limits.header_bytes_max, count_max=limits.headers_max)
    hosts = [value for name, value in headers if name == b"host"]
    if len(hosts) > 1 or (scope["http_version"] == "1.1" and not any(hosts)):
        raise HostMissing
