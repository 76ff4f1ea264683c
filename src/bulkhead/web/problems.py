"""Refusals and failures as `application/problem+json`. Source: RFC 9457.

What a client did wrong is said in full. Of what went wrong on our side a client learns the code,
whether to repeat, and the request id under which the log has the rest: no host names, no SQL.
"""

import json
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from bulkhead.engine.errors import BulkheadError, Invalid, NotFound
from bulkhead.http.asgi import Scope, Send, request_id_of
from bulkhead.http.findings import FINDINGS_MAX, findings

MEDIA_TYPE = "application/problem+json"
SERVER_FAULT = 500

# Details that may be said of a failure on our side; servers, roles and reasons may not.
_HARMLESS = frozenset({"database", "saga_id", "tenant", "timeout_s", "what"})
_FAILURE = "Something went wrong on our side. The log has the details under the request id."
_OWN_MEMBERS = frozenset({"type", "title", "status", "detail", "code", "hint", "request_id"})


class RouteMissing(NotFound):
    """There is nothing at this address."""

    code = "route_missing"
    hint = "GET /openapi.json lists what there is; /docs shows it."


class MethodNotAllowed(BulkheadError):
    """This address does not know the method {method}."""

    code = "method_not_allowed"
    status = 405


class RequestInvalid(Invalid):
    """The request is not what this address expects."""

    code = "request_invalid"


class RequestRefused(BulkheadError):
    """The request was refused: {reason}."""

    code = "request_refused"
    status = 400


def render_problem(error: BulkheadError, request_id: str, *, status: int = 0) -> dict[str, Any]:
    """Render an error as the members of a problem document; `status` overrides the error's."""
    status = status or error.status
    told = error.to_json()
    details: Mapping[str, object] = told["details"]  # type: ignore[assignment]
    is_told = status < SERVER_FAULT or details.keys() <= _HARMLESS
    problem = {
        "type": f"/docs/errors#{error.code}",
        "title": error.code.replace("_", " ").capitalize(),
        "status": status,
        "detail": error.message if is_told else _FAILURE,
        "code": error.code,
        "hint": error.advice if is_told else "",
        "request_id": request_id,
    }
    problem |= {
        key: value
        for key, value in details.items()
        if key not in _OWN_MEMBERS and (is_told or key in _HARMLESS)
    }
    return {key: value for key, value in problem.items() if value != ""}


def problem_headers(error: BulkheadError) -> list[tuple[bytes, bytes]]:
    """The headers that go with an error: media type, when to repeat, how to sign in."""
    headers = [(b"content-type", MEDIA_TYPE.encode()), (b"cache-control", b"no-store")]
    if error.retry_after_s is not None:
        headers.append((b"retry-after", str(error.retry_after_s).encode()))
    if error.status == 401:  # noqa: PLR2004
        headers.append((b"www-authenticate", b"Bearer"))
    return headers


async def send_problem(scope: Scope, send: Send, error: BulkheadError, *, close: bool) -> None:
    """Answer a request outside of any route; `close` gives up the connection with it.

    Close it whenever a part of the request has not been read.
    """
    body = _encode(render_problem(error, request_id_of(scope)))
    headers = [*problem_headers(error), (b"content-length", str(len(body)).encode())]
    if close:
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": error.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def install_problems(app: FastAPI) -> None:
    """Let `app` answer every error with a problem document."""
    app.add_exception_handler(BulkheadError, _answer_error)
    app.add_exception_handler(RequestValidationError, _answer_invalid)
    app.add_exception_handler(HTTPException, _answer_http)
    app.add_exception_handler(Exception, _answer_failure)


async def _answer_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, BulkheadError), "registered for BulkheadError"
    request.scope["bulkhead.error"] = error
    return _respond(request, error)


async def _answer_invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError), "registered for RequestValidationError"
    errors = error.errors()
    more = {"errors_total": len(errors)} if len(errors) > FINDINGS_MAX else {}
    return _respond(request, RequestInvalid(errors=findings(errors), **more))


async def _answer_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException), "registered for HTTPException"
    match error.status_code:
        case 404:
            refusal: BulkheadError = RouteMissing()
        case 405:
            refusal = MethodNotAllowed(method=request.method)
        case _:
            refusal = RequestRefused(reason=str(error.detail))
    headers = dict(error.headers or {})
    if headers.get("Allow") == "GET":
        headers["Allow"] = "GET, HEAD"
    return _respond(request, refusal, status=error.status_code, headers=headers)


async def _answer_failure(request: Request, error: Exception) -> Response:
    # Starlette raises `error` again once this is sent; the exchange logs it.
    del error
    return _respond(request, BulkheadError())


def _respond(
    request: Request,
    error: BulkheadError,
    *,
    status: int = 0,
    headers: Mapping[str, str] | None = None,
) -> Response:
    problem = render_problem(error, request_id_of(request.scope), status=status)
    response = Response(_encode(problem), status_code=problem["status"])
    response.raw_headers += problem_headers(error)
    for name, value in (headers or {}).items():
        response.headers[name] = value
    return response


def _encode(problem: Mapping[str, Any]) -> bytes:
    return json.dumps(problem, separators=(",", ":")).encode()
