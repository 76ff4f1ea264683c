"""From a result to status, headers and body. Source: PostgREST v14, `Response.hs`."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from urllib.parse import quote

from bulkhead.gateway.rest.errors import (
    GucHeadersInvalid,
    GucStatusInvalid,
    RangeInvalid,
    RestError,
)
from bulkhead.gateway.rest.plan import CallPlan, Plan, ReadPlan, WritePlan
from bulkhead.gateway.rest.prefer import NO_PREFERENCES
from bulkhead.gateway.rest.query import WHOLE
from bulkhead.gateway.rest.request import (
    Action,
    ApiRequest,
    Count,
    Preferences,
    Resolution,
    Return,
)
from bulkhead.gateway.rest.run import ResultSet
from bulkhead.gateway.rest.schema import Function, Table, Volatility

Header = tuple[bytes, bytes]

JSON_TYPE = b"application/json; charset=utf-8"
VARY: Header = (b"vary", b"Accept, Prefer, Range")
_STATUSES = range(200, 600)
_PATH_SAFE = "/~!$&'()*+,;=:@"
_QUERY_SAFE = "~!$'()*,;:@/"


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer, whole."""

    status: int
    headers: list[Header]
    body: bytes = b""


def respond(plan: Plan, request: ApiRequest, result: ResultSet) -> Answer:
    """Render the answer; raises GucHeadersInvalid or GucStatusInvalid."""
    if plan.media.explain is not None:
        return Answer(200, [_length(result.body), *_content_type(plan, request)], result.body)
    if isinstance(plan, ReadPlan):
        answer = _respond_read(plan, request, result)
    elif isinstance(plan, WritePlan):
        answer = _respond_write(plan, request, result)
    else:
        answer = _respond_call(plan, request, result)
    if result.headers is None and result.status is None:
        return answer
    return _override(answer, result)


def respond_error(error: RestError, *, headers_only: bool = False) -> Answer:
    """Render a refusal."""
    body = error.render_body()
    headers = [(b"content-type", JSON_TYPE), *error.headers, _length(body)]
    return Answer(error.http_status, headers, b"" if headers_only else body)


def respond_options(subject: Table | Function | None) -> Answer:
    """What can be done with a table, a function or, for None, the root."""
    methods = ["OPTIONS", "GET", "HEAD"]
    if isinstance(subject, Table):
        methods += _table_methods(subject)
    elif subject is not None:
        if subject.volatility is Volatility.VOLATILE:
            methods = ["OPTIONS"]
        methods.append("POST")
    return Answer(200, [_length(b""), (b"allow", ",".join(methods).encode())])


def respond_description(body: bytes, request: ApiRequest) -> Answer:
    """The description of the API, at its root."""
    headers = [(b"content-type", b"application/openapi+json; charset=utf-8")]
    if not request.headers_only:
        headers.append(_length(body))
    return Answer(200, [*headers, *_profile(request)], b"" if request.headers_only else body)


def content_range(lower: int, upper: int, total: int | None) -> Header:
    """`0-9/123`, with `*` for what is empty or unknown."""
    rows = f"{lower}-{upper}" if total != 0 and lower <= upper else "*"
    return b"content-range", f"{rows}/{'*' if total is None else total}".encode()


def range_status(lower: int, upper: int, total: int | None) -> int:
    """200, 206 if there are more rows than these, 416 if the first one is beyond the last."""
    if total is None:
        return 200
    if lower > total:
        return 416
    return 206 if 1 + upper - lower < total else 200


def preference_applied(preferences: Preferences) -> Header | None:
    """What of `Prefer` took effect, in PostgREST's order."""
    named: tuple[tuple[str, object], ...] = (
        ("resolution", preferences.resolution),
        ("missing", _missing(preferences.missing_default)),
        ("return", preferences.returning),
        ("count", preferences.count),
        ("tx", preferences.transaction),
        ("handling", preferences.handling),
        ("timezone", preferences.timezone),
        ("max-affected", preferences.max_affected),
    )
    applied = [f"{name}={value}" for name, value in named if value is not None]
    if not applied:
        return None
    return b"preference-applied", ", ".join(applied).encode("utf-8", "replace")


def _respond_read(plan: ReadPlan, request: ApiRequest, result: ResultSet) -> Answer:
    status, paging, body = _page(request, result)
    query = request.canonical_query
    location = f"{_path_of(plan.target.name)}?{query}" if query else _path_of(plan.target.name)
    headers: list[Header] = [paging, (b"content-location", location.encode("ascii", "replace"))]
    if not request.headers_only:
        headers.append(_length(body))
    headers += _content_type(plan, request)
    headers += _applied(plan, request)
    return Answer(status, headers, b"" if request.headers_only else body)


def _respond_write(plan: WritePlan, request: ApiRequest, result: ResultSet) -> Answer:
    is_shown = request.preferences.returning is Return.REPRESENTATION
    counted = result.page_total if _is_counted(request) else None
    headers: list[Header] = []
    match request.action:
        case Action.CREATE:
            headers += _location(plan, result)
            headers.append(content_range(1, 0, counted))
            status = _created_status(request, result)
        case Action.UPDATE:
            headers.append(content_range(0, result.page_total - 1, counted))
            status = 200 if is_shown else 204
        case Action.UPSERT:
            created = 201 if (result.inserted or 0) > 0 else 200
            status = created if is_shown else 204
        case _:
            headers.append(content_range(1, 0, counted))
            status = 200 if is_shown else 204
    headers += _applied(plan, request)
    body = result.body if is_shown else b""
    if is_shown or request.action is Action.CREATE:
        headers.append(_length(body))
    if is_shown:
        headers += _content_type(plan, request)
    return Answer(status, headers, body)


def _respond_call(plan: CallPlan, request: ApiRequest, result: ResultSet) -> Answer:
    status, paging, body = _page(request, result)
    headers: list[Header] = [paging, *_applied(plan, request)]
    if plan.call.function.returns_void:
        return Answer(204, headers)
    if not request.headers_only:
        headers.append(_length(body))
    headers += _content_type(plan, request)
    return Answer(status, headers, b"" if request.headers_only else body)


def _page(request: ApiRequest, result: ResultSet) -> tuple[int, Header, bytes]:
    """Status, Content-Range and body; rows beyond the last one are answered with a refusal."""
    lower = request.ranges.get((), WHOLE).offset
    upper = lower + result.page_total - 1
    status = range_status(lower, upper, result.total)
    body = result.body
    if status == RangeInvalid.status:
        body = RangeInvalid(
            details=f"An offset of {lower} was requested, but there are only {result.total} rows."
        ).render_body()
    return status, content_range(lower, upper, result.total), body


def _created_status(request: ApiRequest, result: ResultSet) -> int:
    merges = request.preferences.resolution is Resolution.MERGE
    return 200 if merges and result.inserted is not None and result.inserted <= 0 else 201


def _location(plan: WritePlan, result: ResultSet) -> Iterable[Header]:
    if not result.location:
        return
    parts = (part.partition("=") for part in result.location)
    query = "&".join(f"{_quote(name)}={_quote(value)}" for name, _, value in parts)
    yield b"location", f"{_path_of(plan.target.name)}?{query}".encode("ascii")


def _applied(plan: Plan, request: ApiRequest) -> Iterable[Header]:
    if request.preferences is NO_PREFERENCES:
        return
    is_write = isinstance(plan, WritePlan)
    header = _render_applied(
        request.preferences,
        request.action,
        is_write=is_write,
        resolves=isinstance(plan, WritePlan) and plan.resolution_applies,
        is_call=isinstance(plan, CallPlan),
    )
    if header is not None:
        yield header


@lru_cache(maxsize=1024)
def _render_applied(
    given: Preferences, action: Action, *, is_write: bool, resolves: bool, is_call: bool
) -> Header | None:
    """What of the preferences means something for such a plan."""
    merges = is_write and resolves and action is Action.CREATE
    bounds = is_call or action in (Action.UPDATE, Action.DELETE)
    is_strict = given.handling == "strict"
    return preference_applied(
        replace(
            given,
            resolution=given.resolution if merges else None,
            missing_default=(
                given.missing_default if action in (Action.CREATE, Action.UPDATE) else None
            ),
            returning=given.returning if is_write else None,
            max_affected=given.max_affected if bounds and is_strict else None,
        )
    )


def _override(answer: Answer, result: ResultSet) -> Answer:
    """Let SQL have the last word on status and headers (`response.status`, `response.headers`)."""
    own = parse_guc_headers(result.headers)
    names = {name for name, _ in own}
    headers = [header for header in answer.headers if header[0] not in names]
    status = answer.status if result.status is None else parse_guc_status(result.status)
    return Answer(status, [*headers, *own], answer.body)


def parse_guc_headers(text: str | None) -> list[Header]:
    """Read `response.headers`; raises GucHeadersInvalid."""
    if text is None:
        return []
    try:
        return [_parse_guc_header(item) for item in json.loads(text)]
    except (ValueError, TypeError, RecursionError):
        raise GucHeadersInvalid from None


def parse_guc_status(text: str) -> int:
    """Read `response.status`; raises GucStatusInvalid."""
    if not (text.isascii() and text.isdigit() and int(text) in _STATUSES):
        raise GucStatusInvalid
    return int(text)


def _parse_guc_header(item: object) -> Header:
    if not isinstance(item, dict) or len(item) != 1:
        raise TypeError
    [(name, value)] = item.items()
    if not isinstance(value, str) or any(mark in name + value for mark in "\r\n\0"):
        raise TypeError
    return name.lower().encode("ascii"), value.encode()


def _table_methods(table: Table) -> Iterable[str]:
    if table.insertable:
        yield "POST"
    if table.insertable and table.updatable and table.primary_key:
        yield "PUT"
    if table.updatable:
        yield "PATCH"
    if table.deletable:
        yield "DELETE"


def _content_type(plan: Plan, request: ApiRequest) -> Iterable[Header]:
    yield b"content-type", plan.media.content_type.encode("latin-1", "replace")
    yield from _profile(request)


def _profile(request: ApiRequest) -> Iterable[Header]:
    if request.has_profile:
        yield b"content-profile", request.schema.encode()


def _is_counted(request: ApiRequest) -> bool:
    return request.preferences.count in (Count.EXACT, Count.ESTIMATED)


def _missing(missing_default: bool | None) -> str | None:  # noqa: FBT001 - a preference
    if missing_default is None:
        return None
    return "default" if missing_default else "null"


@lru_cache(maxsize=1024)
def _path_of(table: str) -> str:
    return "/" + quote(table, safe=_PATH_SAFE)


def _length(body: bytes) -> Header:
    return b"content-length", b"%d" % len(body)


def _quote(text: str) -> str:
    return quote(text, safe=_QUERY_SAFE)
