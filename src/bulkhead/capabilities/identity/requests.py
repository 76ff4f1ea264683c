"""What a request says about who sends it."""

import re

from starlette.requests import Request

from bulkhead.engine.errors import Unauthenticated

_BEARER = re.compile(r"^Bearer (\S+)$", re.IGNORECASE)


def read_bearer(request: Request) -> str | None:
    """The token of the header `Authorization`, None without one; raises Unauthenticated."""
    header = request.headers.get("authorization")
    if header is None:
        return None
    match = _BEARER.match(header)
    if match is None:
        raise Unauthenticated
    return match[1]
