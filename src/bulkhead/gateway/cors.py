"""Pages of any origin may use the APIs: whom a request is from stands in headers, not in cookies.

A preflight is answered as PostgREST and the edge of Supabase do. Source: the Fetch standard,
section 3.2 (HTTP CORS protocol).
"""

from bulkhead.http.asgi import Scope, find_header

Headers = list[tuple[bytes, bytes]]

METHODS = b"GET, POST, PATCH, PUT, DELETE, OPTIONS, HEAD"
ALLOWED_ALWAYS = b"Accept, Accept-Language, Content-Language"
ANY_ORIGIN = (b"access-control-allow-origin", b"*")
EXPOSED = b", ".join(
    [
        *(b"Allow", b"Content-Encoding", b"Content-Location", b"Content-Profile"),
        *(b"Content-Range", b"Content-Type", b"Date", b"Link", b"Location"),
        *(b"Preference-Applied", b"Proxy-Status", b"Range-Unit", b"Retry-After"),
        *(b"Sb-Auth-Session-Id", b"Sb-Auth-User-Id", b"Server", b"Server-Timing"),
        *(b"Transfer-Encoding", b"Www-Authenticate", b"X-Request-Id", b"X-Sb-Error-Code"),
        *(b"X-Supabase-Api-Version", b"X-Total-Count"),
    ]
)
SHARED: Headers = [ANY_ORIGIN, (b"access-control-expose-headers", EXPOSED)]
"""What lets a page read an answer with its headers."""


def find_preflight(scope: Scope) -> Headers | None:
    """The headers of the answer when a browser asks with OPTIONS what a page may send, or None."""
    if not (find_header(scope, b"origin") and find_header(scope, b"access-control-request-method")):
        return None
    wanted = find_header(scope, b"access-control-request-headers") or b""
    names = [name for part in wanted.split(b",") if (name := part.strip())]
    return [
        ANY_ORIGIN,
        (b"access-control-allow-methods", METHODS),
        (b"access-control-allow-headers", b", ".join([b"Authorization", *names, ALLOWED_ALWAYS])),
        (b"access-control-max-age", b"86400"),
    ]


def share(headers: Headers, sharing: Headers) -> Headers:
    """The headers of an answer with `sharing`; what says who may read it itself stays as it is."""
    return headers if ANY_ORIGIN[0] in dict(headers) else [*headers, *sharing]
