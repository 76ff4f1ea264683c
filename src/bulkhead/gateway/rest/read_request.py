"""From what came over the wire to an `ApiRequest`. Source: PostgREST, `ApiRequest.hs`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import chain
from types import MappingProxyType

from bulkhead.gateway.rest.accept import ANY, JSON, parse_accept, parse_content_type
from bulkhead.gateway.rest.config import OpenApiMode, RestConfig, TxEnd
from bulkhead.gateway.rest.errors import (
    CallMethodNotAllowed,
    DescriptionDisabled,
    MethodUnsupported,
    PathInvalid,
    SchemaNotExposed,
)
from bulkhead.gateway.rest.parse_query import parse_query
from bulkhead.gateway.rest.payload import parse_payload
from bulkhead.gateway.rest.prefer import NO_PREFERENCES, parse_preferences
from bulkhead.gateway.rest.query import Query
from bulkhead.gateway.rest.ranges import plan_ranges
from bulkhead.gateway.rest.request import Action, ApiRequest, Payload, PayloadKind, Preferences
from bulkhead.gateway.rest.split import split_query

RawHeaders = Sequence[tuple[bytes, bytes]]
_Headers = tuple[tuple[tuple[str, str], ...], Mapping[str, str]]

_TABLE_ACTIONS = {
    "GET": Action.READ,
    "HEAD": Action.READ,
    "POST": Action.CREATE,
    "PUT": Action.UPSERT,
    "PATCH": Action.UPDATE,
    "DELETE": Action.DELETE,
    "OPTIONS": Action.OPTIONS,
}
_FUNCTION_ACTIONS = {
    "GET": Action.CALL_READ,
    "HEAD": Action.CALL_READ,
    "POST": Action.CALL,
    "OPTIONS": Action.OPTIONS,
}
_ROOT_ACTIONS = {
    "GET": Action.DESCRIBE,
    "HEAD": Action.DESCRIBE,
    "OPTIONS": Action.OPTIONS,
}
_WITH_BODY = frozenset({Action.CREATE, Action.UPDATE, Action.UPSERT, Action.CALL})
_WITH_COLUMNS = frozenset({Action.CREATE, Action.UPDATE, Action.CALL})
_WRITING_METHODS = frozenset({"DELETE", "PATCH", "POST", "PUT"})
_TX_CHOICE = frozenset({TxEnd.COMMIT_ALLOW_OVERRIDE, TxEnd.ROLLBACK_ALLOW_OVERRIDE})
_CACHED_HEADERS_MAX = 4096
"""Longer ones are decoded each time: what is remembered must be bounded."""
_NO_COOKIES: Mapping[str, str] = {}


def read_request(
    method: str, path: str, raw_query: bytes, headers: RawHeaders, body: bytes, config: RestConfig
) -> ApiRequest:
    """Read a request; `path` is decoded and begins below the mount: `/orders`, `/rpc/f`.

    Raises a RestError of the PGRST1xx codes for whatever it cannot mean.
    """
    resource, is_function = _read_resource(path, config)
    shown, found = _read_headers(headers)
    schema, has_profile = _choose_schema(method, found, config)
    action = _choose_action(method, resource, is_function=is_function)
    is_call_read = action is Action.CALL_READ
    split = split_query(raw_query, is_call_read=is_call_read)
    query = parse_query(
        split.shape,
        is_call_read=is_call_read,
        depth_max=config.depth_max,
        filters_max=config.filters_max,
    )
    ranges = plan_ranges(method, split.ranges, found.get("range"))
    content_type = parse_content_type(found["content-type"]) if "content-type" in found else JSON
    payload = _read_payload(body, content_type, action, query)
    accept = found.get("accept")
    return ApiRequest(
        method=method,
        path=path,
        action=action,
        schema=schema,
        resource=resource,
        is_function=is_function,
        query=query,
        values=split.values,
        ranges=ranges,
        preferences=_read_preferences(found, config),
        accept=(ANY,) if accept is None else parse_accept(accept),
        content_type=content_type,
        payload=payload,
        columns=_find_columns(payload, query),
        headers=shown,
        cookies=_read_cookies(found["cookie"]) if "cookie" in found else _NO_COOKIES,
        has_profile=has_profile,
        headers_only=method == "HEAD",
        shape=split.shape,
        raw_query=raw_query,
    )


def _read_resource(path: str, config: RestConfig) -> tuple[str, bool]:
    """The name in the path, and whether it is a function's."""
    segments = path.removeprefix("/").split("/")
    match segments:
        case [""]:
            if config.openapi_mode is OpenApiMode.DISABLED:
                raise DescriptionDisabled
            if config.root_spec is not None:
                return config.root_spec.rpartition(".")[2], True
            return "", False
        case [table]:
            return table, False
        case ["rpc", function]:
            return function, True
    raise PathInvalid


def _read_headers(headers: RawHeaders) -> _Headers:
    """All headers but cookies, and the first one of each name; several `Prefer` are one.

    A client sends the same ones with every request, as long as they are few and short.
    """
    if sum(map(len, chain.from_iterable(headers))) > _CACHED_HEADERS_MAX:
        return _decode_headers(headers)
    return _decode_cached(tuple(headers))


def _decode_headers(headers: RawHeaders) -> _Headers:
    shown = []
    found: dict[str, str] = {}
    for raw_name, raw_value in headers:
        name = raw_name.decode("latin-1").lower()
        value = raw_value.decode("utf-8", "replace")
        if name != "cookie":
            shown.append((name, value))
        if name == "prefer" and name in found:
            found[name] += "," + value
        else:
            found.setdefault(name, value)
    return tuple(shown), MappingProxyType(found)


_decode_cached = lru_cache(maxsize=1024)(_decode_headers)


def _choose_schema(method: str, found: Mapping[str, str], config: RestConfig) -> tuple[str, bool]:
    """The schema, and whether it was chosen from several, or by the header of a profile."""
    name = "content-profile" if method in _WRITING_METHODS else "accept-profile"
    profile = found.get(name)
    if profile is None:
        return config.schemas[0], len(config.schemas) > 1
    if profile not in config.schemas:
        raise SchemaNotExposed(schema=profile, exposed=", ".join(config.schemas))
    return profile, True


def _choose_action(method: str, resource: str, *, is_function: bool) -> Action:
    if is_function:
        action = _FUNCTION_ACTIONS.get(method)
        if action is None:
            raise CallMethodNotAllowed(method=method)
        return action
    action = (_TABLE_ACTIONS if resource else _ROOT_ACTIONS).get(method)
    if action is None:
        raise MethodUnsupported(method=method)
    return action


def _read_preferences(found: Mapping[str, str], config: RestConfig) -> Preferences:
    header = found.get("prefer")
    if header is None:
        return NO_PREFERENCES
    return parse_preferences(header, tx_allowed=config.tx_end in _TX_CHOICE)


def _read_payload(body: bytes, content_type: str, action: Action, query: Query) -> Payload | None:
    if action not in _WITH_BODY:
        return None
    return parse_payload(
        body,
        content_type,
        is_call=action is Action.CALL,
        has_columns=action in _WITH_COLUMNS and query.columns is not None,
    )


def _find_columns(payload: Payload | None, query: Query) -> frozenset[str]:
    """What a write sets, or the names of the arguments of a call."""
    if payload is None:
        return frozenset()
    if payload.kind is PayloadKind.RAW_JSON:
        return frozenset(query.columns or ())
    return payload.keys


def _read_cookies(header: str) -> dict[str, str]:
    cookies: dict[str, str] = {}
    for part in header.split(";"):
        name, _, value = part.partition("=")
        if name.strip():
            cookies.setdefault(name.strip(), value.strip())
    return cookies
