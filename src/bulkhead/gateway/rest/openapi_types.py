"""The types of PostgreSQL in the words of OpenAPI 2.0."""

from __future__ import annotations

import json
from typing import Any

Json = dict[str, Any]

_TYPES: dict[str, str | None] = {
    "character varying": "string",
    "character": "string",
    "text": "string",
    "boolean": "boolean",
    "smallint": "integer",
    "integer": "integer",
    "bigint": "integer",
    "numeric": "number",
    "real": "number",
    "double precision": "number",
    "json": None,
    "jsonb": None,
}
"""None is anything."""
_FORMATS = {"smallint": "int32", "integer": "int32", "bigint": "int64"}


def swagger_type(name: str) -> str | None:
    """The type of values; None for those that may have any."""
    return _TYPES.get(name, "array" if name.endswith("[]") else "string")


def swagger_format(name: str) -> str:
    """The format, which for most types is PostgreSQL's name."""
    return _FORMATS.get(name, name)


def describe_items(name: str) -> Json | None:
    """What an array holds; None for what is no array."""
    if swagger_type(name) != "array":
        return None
    return compact(type=swagger_type(name.removesuffix("[]")))


def parse_default(name: str, expression: str | None) -> Any:  # noqa: ANN401 - any JSON value
    """A column's default as a value; None where it is an expression or there is none."""
    if expression is None:
        return None
    text = expression
    if swagger_type(name) == "string":
        literal = expression.removesuffix(f"::{name}")
        text = f'"{expression if literal == expression else literal.strip(chr(39))}"'
    try:
        return json.loads(text)
    except ValueError:
        return None


def compact(**members: Any) -> Json:  # noqa: ANN401 - any JSON value
    """An object of the members that say something."""
    return {
        name: value
        for name, value in members.items()
        if value is not None and (name == "items" or value not in ([], {}))
    }
