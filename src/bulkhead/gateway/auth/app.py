"""The API as one ASGI application: finds the endpoint, and words every refusal for its clients."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette._utils import get_route_path
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from bulkhead.engine.errors import BulkheadError
from bulkhead.gateway.auth.answers import answer_json
from bulkhead.gateway.auth.call import Authenticate, Call, Endpoint, Route
from bulkhead.gateway.auth.errors import BodyInvalid, MethodUnsupported, PathUnknown
from bulkhead.gateway.auth.grants import post_token
from bulkhead.gateway.auth.routes import ROUTES
from bulkhead.gateway.auth.wire import API_VERSION_HEADER, render_error

if TYPE_CHECKING:
    from bulkhead.capabilities.identity.identity import Identity

log = logging.getLogger(__name__)

PARTS_MAX = 8
"""No address has more parts; longer ones are not taken apart."""


def auth_app(identity: Identity, authenticate: Authenticate | None = None) -> ASGIApp:
    """An ASGI application that answers at addresses relative to `/auth/v1`.

    `authenticate` recognises the application's own service by the headers of a request; without
    it nobody is an administrator. Reads no path above its own, so that one application may stand
    at several places.
    """
    routes = RouteTable(ROUTES)

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "http", "only HTTP is served"
        request = Request(scope, receive)
        response = await _answer(identity, authenticate, routes, request)
        await response(scope, receive, send)

    return serve


@dataclass(frozen=True, slots=True)
class Found:
    """The endpoint of a request and the names in its path."""

    endpoint: Endpoint
    names: Mapping[str, str]


class RouteTable:
    """Endpoints by address; pure."""

    def __init__(self, routes: Iterable[Route]) -> None:
        """Take `routes`, of which a later one does not replace an earlier one."""
        self._routes: dict[int, list[tuple[tuple[str, ...], Route]]] = defaultdict(list)
        for route in routes:
            parts = tuple(route.path.strip("/").split("/"))
            self._routes[len(parts)].append((parts, route))

    def find(self, method: str, path: str) -> Found:
        """The endpoint at `path`; raises PathUnknown and MethodUnsupported."""
        parts = path.strip("/").split("/", PARTS_MAX)
        allowed: list[str] = []
        for template, route in self._routes.get(len(parts), ()):
            names = _match(template, parts)
            if names is None:
                continue
            if route.method == method:
                return Found(route.endpoint, names)
            allowed.append(route.method)
        if allowed:
            raise MethodUnsupported(method=method, path=path, allow=", ".join(sorted(allowed)))
        raise PathUnknown(path=path)


def _match(template: tuple[str, ...], parts: list[str]) -> Mapping[str, str] | None:
    names = {}
    for wanted, part in zip(template, parts, strict=True):
        if wanted.startswith("{") and part:
            names[wanted[1:-1]] = part
        elif wanted != part:
            return None
    return names


async def _answer(
    identity: Identity,
    authenticate: Authenticate | None,
    routes: RouteTable,
    request: Request,
) -> Response:
    endpoint: Endpoint | None = None
    try:
        found = routes.find(request.method, get_route_path(request.scope))
        endpoint = found.endpoint
        return await endpoint(Call(identity, request, found.names, authenticate))
    except BulkheadError as error:
        if error.status >= BulkheadError.status:
            log.warning("%s %s: %s", request.method, request.url.path, error)
        return _answer_error(error, request, grant=endpoint is post_token)
    except ClientDisconnect:
        return Response(status_code=BodyInvalid.status)  # Nobody is there to read it.
    except Exception:
        log.exception("%s %s failed", request.method, request.url.path)
        return _answer_error(BulkheadError(), request, grant=False)


def _answer_error(error: BulkheadError, request: Request, *, grant: bool) -> Response:
    said = render_error(error, request.headers.get(API_VERSION_HEADER), grant=grant)
    headers = dict(said.headers)
    if isinstance(error, MethodUnsupported):
        headers["allow"] = str(error.details["allow"])
    return answer_json(said.body, status=said.status, headers=headers)
