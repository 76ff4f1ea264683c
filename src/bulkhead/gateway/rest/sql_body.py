"""What makes the body of an answer out of rows.

JSON is gathered by `json_agg`, whose spaces and line feeds clients have come to know. Source:
PostgREST v14, `handlerF` of `SqlFragment.hs`.
"""

from __future__ import annotations

from bulkhead.gateway.rest.plan_media import BuiltinHandler, CustomHandler, Handler
from bulkhead.gateway.rest.schema import Function
from bulkhead.gateway.rest.sql_call import SCALAR
from bulkhead.gateway.rest.sql_parts import quote_name

_OBJECTS = frozenset({BuiltinHandler.OBJECT, BuiltinHandler.OBJECT_STRIPPED})
_ARRAYS = frozenset({BuiltinHandler.JSON, BuiltinHandler.ARRAY_STRIPPED})
_STRIPPED = frozenset({BuiltinHandler.OBJECT_STRIPPED, BuiltinHandler.ARRAY_STRIPPED})
ROW = "pgrst_row"
"""What the rows of an answer are called."""
ROWS = "pgrst_rows"
"""The query of the rows where it is read twice."""


def render_body(handler: Handler, function: Function | None) -> str:
    """Render the body as an expression over the rows called `ROW`.

    `function` is what was called, if anything: what returns one value is not a list.
    """
    if isinstance(handler, CustomHandler):
        return _render_custom(handler, function)
    is_value = function is not None and not function.returns.is_composite
    row = f"{ROW}.{SCALAR}" if is_value else ROW
    is_one = function is not None and not function.returns.is_set
    stripped = handler in _STRIPPED
    if handler in _OBJECTS or (is_one and handler in _ARRAYS):
        return _render_object(row, stripped=stripped)
    if handler in _ARRAYS:
        rows = f"json_agg({row})"
        return f"coalesce({f'json_strip_nulls({rows})' if stripped else rows}, '[]')"
    if handler is BuiltinHandler.CSV:
        return _render_csv()
    if handler is BuiltinHandler.GEOJSON:
        return (
            "json_build_object('type', 'FeatureCollection', 'features', "
            f"coalesce(json_agg(st_asgeojson({ROW})::json), '[]'))"
        )
    return "''::text"


def needs_rows_twice(handler: Handler) -> bool:
    """Whether the query of the rows has to be called `ROWS`."""
    return handler is BuiltinHandler.CSV


def _render_object(row: str, *, stripped: bool) -> str:
    """Render one object; it is refused elsewhere that there are several."""
    rows = f"json_agg({row})"
    return f"coalesce({f'json_strip_nulls({rows})' if stripped else rows}->0, 'null')"


def _render_csv() -> str:
    header = (
        "(select coalesce(string_agg(k, ','), '') from json_object_keys("
        f"(select row_to_json(h) from {ROWS} h limit 1)) k)"
    )
    line = f"substring({ROW}::text, 2, length({ROW}::text) - 2)"
    return f"{header} || E'\\n' || coalesce(string_agg({line}, E'\\n'), '')"


def _render_custom(handler: CustomHandler, function: Function | None) -> str:
    returns_value = function is not None and function.returns_scalar
    if not handler.is_aggregate:
        return f"{ROW}.{SCALAR}"
    if returns_value:
        return f"{quote_name(handler.function)}({ROW}.{SCALAR})"
    row = ROW if handler.target is None else f"{ROW}::{quote_name(handler.target)}"
    return f"{quote_name(handler.function)}({row})"
