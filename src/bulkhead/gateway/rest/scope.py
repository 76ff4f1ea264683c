"""What a transaction is told about its request, in the message that begins it.

SQL reads it with `current_setting('request.headers', true)` and so on, as under PostgREST. Role and
claims are set by the engine before this.

PostgREST calls `set_config` in a query. SET LOCAL does the same at a quarter of the cost, since
nothing is planned and no row is sent. It takes the quotes off a path that needs none, which only
the plan of a query shows.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from functools import lru_cache

from bulkhead.engine.connections.sql import identifier, literal
from bulkhead.gateway.rest.config import RestConfig
from bulkhead.gateway.rest.request import ApiRequest
from bulkhead.gateway.rest.schema import Function, Schema

Pairs = tuple[tuple[str, str], ...]

ISOLATION_LEVELS = frozenset(
    {"read uncommitted", "read committed", "repeatable read", "serializable"}
)
_PLAN = "vnd.pgrst.plan"
LISTS = frozenset(
    {
        "local_preload_libraries",
        "search_path",
        "session_preload_libraries",
        "temp_tablespaces",
    }
)
"""Settings whose value SET would take for one name, commas and all."""


def render_scope(
    request: ApiRequest,
    role: str,
    schema: Schema,
    config: RestConfig,
    function: Function | None = None,
) -> str:
    """Render the statements that set the scope of `request` and call the pre-request function."""
    fixed = _render_fixed(
        request.schema,
        config.extra_search_path,
        config.app_settings,
        config.statement_timeout_s.get(role),
    )
    if _PLAN in "".join(request.accept):
        fixed += _render_settings(
            [("search_path", _render_path(request.schema, config.extra_search_path))]
        )
    dynamic = [*schema.role_settings.get(role, ())]
    if request.preferences.timezone is not None:
        dynamic.append(("timezone", request.preferences.timezone))
    if function is not None:
        dynamic += function.settings
    parts = [
        _render_isolation(role, schema, function),
        fixed,
        _render_sent(request.method, request.headers, tuple(request.cookies.items())),
        f'set local "request"."path" = {literal(request.path)};',
        _render_settings(dynamic),
    ]
    if config.pre_request is not None:
        parts.append(f"select {render_name(config.pre_request)}();")
    return "".join(parts)


def render_name(qualified: str) -> str:
    """Quote the name of a function as it stands in a setting: `schema.name` or `name`."""
    return ".".join(identifier(part) for part in qualified.split(".", 1))


@lru_cache(maxsize=1024)
def _render_fixed(
    schema: str,
    extra_search_path: Sequence[str],
    app_settings: Sequence[tuple[str, str]],
    timeout_s: float | None,
) -> str:
    """Set what is the same for every request of a role."""
    settings = [*app_settings]
    if timeout_s is not None:
        settings.append(("statement_timeout", str(int(timeout_s * 1000))))
    path = _render_path(schema, extra_search_path)
    return f"set local search_path = {path};" + _render_settings(settings)


@lru_cache(maxsize=256)
def _render_sent(method: str, headers: Pairs, cookies: Pairs) -> str:
    """Set what a client sends along; it sends the same with every request."""
    return _render_settings(
        [
            ("request.method", method),
            ("request.headers", _render_json(headers)),
            ("request.cookies", _render_json(cookies)),
        ]
    )


def _render_path(schema: str, extra_search_path: Sequence[str]) -> str:
    return ", ".join(identifier(name) for name in (schema, *extra_search_path))


def _render_settings(settings: Iterable[tuple[str, str]]) -> str:
    return "".join(
        f"select pg_catalog.set_config({literal(name)},{literal(value)},true);"
        if name in LISTS
        else f"set local {_quote_setting(name)} = {literal(value)};"
        for name, value in settings
    )


@lru_cache(maxsize=1024)
def _quote_setting(name: str) -> str:
    return ".".join(identifier(part) for part in name.split("."))


def _render_isolation(role: str, schema: Schema, function: Function | None) -> str:
    level = (function.isolation if function else None) or schema.role_isolation.get(role)
    if level is None or level not in ISOLATION_LEVELS:
        return ""
    return f"set transaction isolation level {level};"


def _render_json(pairs: Iterable[tuple[str, str]]) -> str:
    return json.dumps(dict(pairs), separators=(",", ":"), ensure_ascii=False)
