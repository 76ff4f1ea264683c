"""The description of all routes at `/openapi.json`, OpenAPI 3.1.

Every operation says that its errors are problem documents; FastAPI's own shape for invalid
requests, which we never send, is taken out.
"""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.responses import JSONResponse, Response

from bulkhead.web.problems import MEDIA_TYPE

PROBLEM: dict[str, Any] = {
    "type": "object",
    "title": "Problem",
    "description": "Why a request was not served (RFC 9457).",
    "required": ["type", "title", "status", "detail", "code", "request_id"],
    "properties": {
        "type": {"type": "string", "description": "Where the error is explained."},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "What happened this time."},
        "code": {"type": "string", "description": "Stable; programs decide by it."},
        "hint": {"type": "string", "description": "What to do next."},
        "request_id": {"type": "string"},
        "errors": {
            "type": "array",
            "description": "Where an invalid request is wrong.",
            "items": {
                "type": "object",
                "required": ["path", "message"],
                "properties": {"path": {"type": "string"}, "message": {"type": "string"}},
            },
        },
        "errors_total": {
            "type": "integer",
            "description": "How many there are, where `errors` has only the first of them.",
        },
    },
    "additionalProperties": True,
}
_RESPONSE: dict[str, Any] = {
    "description": "A problem",
    "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
}
_METHODS = ("get", "put", "post", "delete", "patch", "head", "options")
_REPLACED = ("HTTPValidationError", "ValidationError")


def install_openapi(api: FastAPI) -> None:
    """Let `api` describe its errors as they are."""

    def describe() -> dict[str, Any]:
        if api.openapi_schema is None:
            api.openapi_schema = describe_problems(
                get_openapi(
                    title=api.title,
                    version=api.version,
                    description=api.description,
                    routes=api.routes,
                    tags=api.openapi_tags,
                    separate_input_output_schemas=api.separate_input_output_schemas,
                )
            )
        return api.openapi_schema

    async def read_description() -> Response:
        return JSONResponse(describe())

    api.openapi = describe  # type: ignore[method-assign]
    api.add_api_route("/openapi.json", read_description, include_in_schema=False)


def describe_problems(document: dict[str, Any]) -> dict[str, Any]:
    """Put the problem schema in place of FastAPI's, in all operations; returns `document`."""
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    for name in _REPLACED:
        schemas.pop(name, None)
    schemas["Problem"] = PROBLEM
    for item in document.get("paths", {}).values():
        for method in _METHODS:
            if method in item:
                _describe_operation(item[method])
    return document


def _describe_operation(operation: dict[str, Any]) -> None:
    responses = operation.setdefault("responses", {})
    responses.pop("422", None)
    if "4XX" not in responses:
        responses["default"] = _RESPONSE
    for own in ("4XX", "5XX"):  # Routes that refuse in their own way do not see every request.
        if own in responses:
            responses[own]["content"] |= _RESPONSE["content"]
    summary = operation.get("summary", "")
    if summary == summary.title():
        # Made by FastAPI from a function's name: what the function says of itself says more.
        said = operation.get("description", "").split("\n")[0].removesuffix(".")
        operation["summary"] = said or summary.capitalize()
