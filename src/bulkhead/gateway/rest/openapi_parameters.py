"""The parameters of the API's operations in the words of OpenAPI 2.0."""

from __future__ import annotations

from collections.abc import Iterable

from bulkhead.gateway.rest.openapi_types import (
    Json,
    compact,
    describe_items,
    swagger_format,
    swagger_type,
)
from bulkhead.gateway.rest.schema import Function, Parameter, Table

_RETURN = ("return=representation", "return=minimal", "return=none")
_RESOLUTION = ("resolution=ignore-duplicates", "resolution=merge-duplicates")
_PAGING = "Limiting and Pagination"


def refer(name: str) -> Json:
    """A reference to one of `describe_parameters`."""
    return {"$ref": f"#/parameters/{name}"}


def describe_parameters(tables: Iterable[Table]) -> Json:
    """What operations refer to: preferences, paging, and each table's body and filters."""
    described = {
        "preferParams": _prefer(),
        "preferReturn": _prefer(*_RETURN),
        "preferCount": _prefer("count=none"),
        "preferPost": _prefer(*_RETURN, *_RESOLUTION),
        "select": _text("select", "query", "Filtering Columns"),
        "on_conflict": _text("on_conflict", "query", "On Conflict"),
        "order": _text("order", "query", "Ordering"),
        "range": _text("Range", "header", _PAGING),
        "rangeUnit": _text("Range-Unit", "header", _PAGING) | {"default": "items"},
        "offset": _text("offset", "query", _PAGING),
        "limit": _text("limit", "query", _PAGING),
    }
    for table in tables:
        name = table.name.name
        described[f"body.{name}"] = {
            "name": name,
            "description": name,
            "required": False,
            "in": "body",
            "schema": {"$ref": f"#/definitions/{name}"},
        }
        for column in table.columns.values():
            described[f"rowFilter.{name}.{column.name}"] = _text(
                column.name, "query", column.description
            )
    return described


def describe_call_parameters(function: Function) -> list[Json]:
    """The parameters of a function that is called by GET."""
    return [_describe_argument(parameter) for parameter in function.parameters]


def describe_function_body(function: Function) -> list[Json]:
    """The parameters of a function that is called by POST: the body, and preferences."""
    schema = compact(
        type="object",
        description=function.description,
        required=[each.name for each in function.parameters if each.is_required],
        properties={
            each.name: compact(
                format=swagger_format(each.type),
                type=swagger_type(each.type),
                items=describe_items(each.type),
            )
            for each in function.parameters
        },
    )
    body = {"name": "args", "required": True, "in": "body", "schema": schema}
    return [body, refer("preferParams")]


def _describe_argument(parameter: Parameter) -> Json:
    kind = swagger_type(parameter.type)
    described: Json = {
        "name": parameter.name,
        "required": parameter.is_required,
        "in": "query",
    }
    if parameter.is_variadic:
        element = parameter.type.removesuffix("[]")
        return described | {
            "type": kind or "string",
            "items": compact(type=swagger_type(element), format=swagger_format(element)),
            "collectionFormat": "multi",
        }
    # In a query an array is a text in braces, and what may be anything has to have some type.
    return described | {
        "type": "string" if kind in (None, "array") else kind,
        "format": swagger_format(parameter.type),
    }


def _prefer(*values: str) -> Json:
    return _text("Prefer", "header", "Preference") | compact(enum=list(values))


def _text(name: str, place: str, description: str | None) -> Json:
    return compact(
        **{"name": name, "description": description, "required": False, "in": place},
        type="string",
    )
