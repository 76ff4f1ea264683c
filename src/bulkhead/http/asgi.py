"""The types of ASGI and the few facts about a request that several layers share.

Source: the ASGI specification, HTTP connection scope 2.3.
"""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

REQUEST_ID = "bulkhead.request_id"
ROUTE = "bulkhead.route"
"""Where a gateway leaves the template of the route, for logs and metrics."""


def request_id_of(scope: Scope) -> str:
    """The id of the request, empty before it has one."""
    return str(scope.get(REQUEST_ID, ""))


def find_header(scope: Scope, name: bytes) -> bytes | None:
    """The first value of the header `name` (lower case), or None."""
    for key, value in scope["headers"]:
        if key == name:
            return bytes(value)
    return None
