"""The REST API of one database as an ASGI application.

Source of the dialect: PostgREST v14. A request is read, planned, run and rendered; each stage has a
module of its own. When the schema may have changed since it was read, a request that fails for it
is tried once more with the schema as it is now.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from bulkhead.engine.clock import monotonic_s
from bulkhead.gateway.rest.describe import describe
from bulkhead.gateway.rest.errors import RestError
from bulkhead.gateway.rest.plan_cache import PlanCache
from bulkhead.gateway.rest.prefer import drop_unknown_zone
from bulkhead.gateway.rest.read_request import read_request
from bulkhead.gateway.rest.request import Action, ApiRequest
from bulkhead.gateway.rest.response import (
    VARY,
    Answer,
    Header,
    respond,
    respond_description,
    respond_error,
    respond_options,
)
from bulkhead.gateway.rest.run import run
from bulkhead.gateway.rest.schema import Function, Schema, Table
from bulkhead.gateway.rest.schema_cache import SchemaCache
from bulkhead.gateway.rest.schema_errors import FunctionNotFound, TableNotFound
from bulkhead.gateway.rest.scope import render_scope
from bulkhead.gateway.rest.timing import Timing
from bulkhead.http.asgi import Receive, Scope, Send

if TYPE_CHECKING:
    from bulkhead.engine.connections.claims import Claims
    from bulkhead.engine.connections.database import OpenDatabase
    from bulkhead.gateway.rest.config import RestConfig

Authenticate = Callable[[Sequence[tuple[bytes, bytes]]], "Claims"]

STALE = frozenset(
    {f"PGRST{number}" for number in range(200, 206)} | {"42P01", "42703", "42804", "42883"}
)
"""What a schema that has changed since it was read may be the reason of."""
GAVE_WAY = frozenset({"40001", "40P01"})
"""What a read may be ended with for another transaction's sake; it can simply be repeated."""


class RestGateway:
    """Serves one database; `start` it before, `close` it after."""

    def __init__(
        self, database: OpenDatabase, config: RestConfig, authenticate: Authenticate
    ) -> None:
        """Serve `database` to whom `authenticate` recognises by the headers of a request."""
        self.schemas = SchemaCache(database, config)
        self._database = database
        self._config = config
        self._authenticate = authenticate
        self._plans = PlanCache(config)

    async def start(self) -> None:
        """Read the schema and begin to follow its changes."""
        await self.schemas.start()

    async def close(self) -> None:
        """Follow changes no more."""
        await self.schemas.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; the path is what stands below `/rest/v1`."""
        assert scope["type"] == "http", "only HTTP is served"
        timing = Timing(monotonic_s()) if self._config.server_timing else None
        try:
            answer = await self._answer(scope, receive, timing)
        except RestError as error:
            answer = respond_error(error, headers_only=scope["method"] == "HEAD")
        headers = answer.headers
        if VARY[0] not in dict(headers):
            headers.append(VARY)
        if timing is not None:
            headers.append(timing.to_header())
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": answer.body})

    async def _answer(self, scope: Scope, receive: Receive, timing: Timing | None) -> Answer:
        claims = self._authenticate(scope["headers"])
        scope.setdefault("state", {})["user_id"] = claims.payload.get("sub")
        if timing is not None:
            timing.note("jwt")
        body = await read_body(receive) if has_body(scope["headers"]) else b""
        request = read_request(
            scope["method"],
            scope["path"],
            scope["query_string"],
            scope["headers"],
            body,
            self._config,
        )
        if timing is not None:
            timing.note("parse")
        schema = await self.schemas.current()
        try:
            return await self._serve(request, claims, schema, timing)
        except RestError as error:
            gave_way = error.wire_code in GAVE_WAY and request.method in {"GET", "HEAD"}
            is_stale = error.wire_code in STALE and await self.schemas.refresh(schema)
            if not (gave_way or is_stale):
                raise
        return await self._serve(request, claims, await self.schemas.current(), timing)

    async def _serve(
        self, request: ApiRequest, claims: Claims, schema: Schema, timing: Timing | None
    ) -> Answer:
        if request.preferences.timezone is not None:
            preferences = drop_unknown_zone(request.preferences, schema.time_zones)
            request = replace(request, preferences=preferences)
        if request.action is Action.OPTIONS:
            return respond_options(self._find_subject(request, schema))
        if request.action is Action.DESCRIBE:
            first = render_scope(request, claims.role, schema, self._config)
            body = await describe(self._database, claims, first, request, schema, self._config)
            return respond_description(body, request)
        plan, statement = self._plans.find(request, schema)
        if timing is not None:
            timing.note("plan")
        first = render_scope(request, claims.role, schema, self._config, plan.function)
        result = await run(self._database, claims, first, request, (plan, statement), self._config)
        if timing is not None:
            timing.note("transaction")
        return respond(plan, request, result)

    def _find_subject(self, request: ApiRequest, schema: Schema) -> Table | Function | None:
        if not request.resource:
            return None
        if request.is_function:
            found = schema.functions.get(request.target)
            if not found:
                raise FunctionNotFound(function=".".join(request.target), searched="")
            return found[0]
        table = schema.tables.get(request.target)
        if table is None:
            raise TableNotFound(schema=request.schema, table=request.resource)
        return table


def has_body(headers: Sequence[Header]) -> bool:
    """Whether something follows the head of a request."""
    fields = dict(headers)
    return fields.get(b"content-length", b"0") != b"0" or b"transfer-encoding" in fields


async def read_body(receive: Receive) -> bytes:
    """Read what follows the head; the dispatcher has bounded it."""
    message = await receive()
    body: bytes = message.get("body", b"")
    if not message.get("more_body", False):
        return body
    pieces = [body]
    while message.get("more_body", False):
        message = await receive()
        pieces.append(message.get("body", b""))
    return b"".join(pieces)
