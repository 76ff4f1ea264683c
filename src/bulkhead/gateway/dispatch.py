"""Brings requests to the services that answer them, before the layers of the web's own routes.

A service is another program's API: its errors have other shapes, its bodies are its own to parse,
pages of any origin may use it. What is bounded for the web's routes is bounded here for services:
heads, bodies, and the time they take.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from urllib.parse import quote

from bulkhead.engine.connections.router import PlacementUnknown
from bulkhead.engine.errors import BulkheadError, NotFound
from bulkhead.gateway.cors import ANY_ORIGIN, SHARED, find_preflight, share
from bulkhead.gateway.service import OTHER, Headers, Refusal, Service, refuse_plainly
from bulkhead.http.asgi import ROUTE, App, Message, Receive, Scope, Send
from bulkhead.http.bodies import (
    BodyTooLarge,
    BodyTooSlow,
    ClientLeftError,
    Incoming,
    read_declared,
    replay_body,
)
from bulkhead.http.heads import verify_head

log = logging.getLogger(__name__)

VERSION = "v1"
SERVICE_AT, VERSION_AT = 3, 4
"""Where they stand in `/application/database/service/v1`."""
JSON = b"application/json; charset=utf-8"
NAMES = frozenset({"auth", "functions", "graphql", "realtime", "rest", "storage"})
"""The services of a Supabase project."""
DISCARD_TIMES_MAX = 5
"""How many times a service's largest body is thrown away of one that is refused."""
DISCARD_S_MAX = 5.0
NOSNIFF = (b"x-content-type-options", b"nosniff")
HSTS = (b"strict-transport-security", b"max-age=31536000")


class ServiceMissing(BulkheadError):
    """The service '{service}' is not served for database '{database}'."""

    code = "service_missing"
    status = 404
    hint = "Served are {known}."


class DatabaseUnnamed(NotFound):
    """The address names no database: /{application}/<database>/{service}/v1 is wanted."""

    code = "database_unnamed"
    hint = "There are {known}."


class Dispatcher:
    """Wraps the web; serves what stands below the prefix of a service."""

    def __init__(
        self,
        web: App,
        services: Iterable[Service],
        databases: Mapping[str, Sequence[str]],
        *,
        https: bool = False,
    ) -> None:
        """Serve `services`; `databases` are those of each application."""
        self._web = web
        self._services = {service.prefix: service for service in services}
        self._databases = databases
        always = [NOSNIFF, HSTS] if https else [NOSNIFF]
        self._always = [ANY_ORIGIN, *always]
        self._for_pages = [*SHARED, *always]

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Serve one request."""
        if scope["type"] != "http":
            return self._web(scope, receive, send)
        parts = scope["path"].split("/", 5)
        service = self._find(parts)
        if service is not None:
            return self._serve(service, scope, receive, send)
        if len(parts) > SERVICE_AT and parts[1] in self._databases and _is_of_a_project(parts):
            return self._refuse_unknown(parts, scope, send)
        return self._web(scope, receive, send)

    def _find(self, parts: Sequence[str]) -> Service | None:
        for count in (5, 4):
            if len(parts) >= count and parts[count - 1] == VERSION:
                found = self._services.get("/".join(parts[:count]))
                if found is not None:
                    return found
        return None

    async def _serve(self, service: Service, scope: Scope, receive: Receive, send: Send) -> None:
        rest = scope["path"][len(service.prefix) :] or "/"
        scope[ROUTE] = service.prefix + service.route_of(rest)
        fields = dict(scope["headers"])
        answer = _Answer(send, self._for_pages if b"origin" in fields else self._always)
        if scope["method"] == "OPTIONS":
            preflight = find_preflight(scope)
            if preflight is not None:
                await answer.finish(200, preflight, b"")
                return
        try:
            _verify_head(service, scope)
            if b"content-length" in fields or b"transfer-encoding" in fields:
                receive = await _take_body(service, scope, receive)
            else:
                _admit(service, scope)
        except ClientLeftError:
            return
        except _Refused as refused:
            refusal = service.refuse(refused.error, scope)
            await answer.refuse(refusal, close=refused.close)
            return
        _move(scope, service.prefix, rest)
        try:
            await service.app(scope, receive, answer.send)
        except Exception:
            log.exception("%s failed", scope[ROUTE])
            if not answer.begun:
                await answer.refuse(service.refuse(BulkheadError(), scope), close=True)

    async def _refuse_unknown(self, parts: Sequence[str], scope: Scope, send: Send) -> None:
        application, databases = parts[1], self._databases[parts[1]]
        scope[ROUTE] = f"/{application}/{OTHER}"
        known = ", ".join(databases)
        error: BulkheadError
        if parts[3] == VERSION:
            error = DatabaseUnnamed(application=application, service=parts[2], known=known)
        elif parts[2] not in databases:
            error = PlacementUnknown(application=application, database=parts[2][:64], known=known)
        else:
            prefix = "/".join(parts[:3])
            served = sorted(
                each.removeprefix(f"{prefix}/").removesuffix(f"/{VERSION}")
                for each in self._services
                if each.startswith(f"{prefix}/")
            )
            error = ServiceMissing(
                service=parts[3], database=parts[2], known=", ".join(served) or "none"
            )
        answer = _Answer(send, self._for_pages)
        await answer.refuse(refuse_plainly(error, scope), close=False)


class _Refused(Exception):
    """A request that is not brought to its service."""

    def __init__(self, error: BulkheadError, *, close: bool) -> None:
        super().__init__()
        self.error = error
        self.close = close


class _Answer:
    """Passes an answer on, readable for pages of any origin."""

    __slots__ = ("_always", "_send", "begun")

    def __init__(self, send: Send, always: list[tuple[bytes, bytes]]) -> None:
        self._send = send
        self._always = always
        self.begun = False

    def send(self, message: Message) -> Awaitable[None]:
        if message["type"] == "http.response.start":
            self.begun = True
            message["headers"] = share(message["headers"], self._always)
        return self._send(message)

    async def finish(self, status: int, headers: Headers, body: bytes) -> None:
        headers = [*headers, (b"content-length", str(len(body)).encode())]
        await self.send({"type": "http.response.start", "status": status, "headers": headers})
        await self.send({"type": "http.response.body", "body": body})

    async def refuse(self, refusal: Refusal, *, close: bool) -> None:
        headers = [(b"content-type", JSON), (b"cache-control", b"no-store"), *refusal.headers]
        if close:
            headers.append((b"connection", b"close"))
        await self.finish(refusal.status, headers, refusal.encode())


def _verify_head(service: Service, scope: Scope) -> None:
    try:
        verify_head(scope, service.limits)
    except BulkheadError as error:
        raise _Refused(error, close=True) from None


def _admit(service: Service, scope: Scope) -> None:
    try:
        service.admit(scope)
    except BulkheadError as error:
        raise _Refused(error, close=False) from None


async def _take_body(service: Service, scope: Scope, receive: Receive) -> Receive:
    """Admit a request and have its body at hand; raises _Refused, ClientLeftError."""
    try:
        declared = read_declared(scope["headers"])
    except BulkheadError as error:
        raise _Refused(error, close=True) from None
    incoming = Incoming(receive)
    try:
        service.admit(scope)
        if declared.length is not None and declared.length > service.body_bytes_max:
            raise BodyTooLarge(size_bytes_max=service.body_bytes_max)
        body = await incoming.read_steadily(service.body_bytes_max, service.body_timeout_s)
    except BodyTooSlow as error:
        raise _Refused(error, close=True) from None
    except BulkheadError as error:
        is_read = not declared.held_back and await incoming.discard(
            declared.length,
            size_bytes_max=DISCARD_TIMES_MAX * service.body_bytes_max,
            timeout_s=DISCARD_S_MAX,
        )
        raise _Refused(error, close=not is_read) from None
    return replay_body(body, receive)


def _is_of_a_project(parts: Sequence[str]) -> bool:
    if parts[SERVICE_AT] == VERSION and parts[2] in NAMES:
        return True
    return len(parts) > VERSION_AT and parts[VERSION_AT] == VERSION and parts[SERVICE_AT] in NAMES


def _move(scope: Scope, prefix: str, rest: str) -> None:
    """Let the service see what stands below its prefix."""
    raw = scope.get("raw_path") or b""
    scope["root_path"] = prefix
    scope["path"] = rest
    below = raw.removeprefix(prefix.encode())
    scope["raw_path"] = (below or b"/") if below != raw else quote(rest).encode()
