"""The pages `/docs` and `/docs/errors`: read the API's own description and try operations.

Self-contained: no other host is asked for anything, and the policy of the pages forbids it.
"""

from collections.abc import Awaitable, Callable
from importlib import resources
from typing import Any

from fastapi import APIRouter, Response
from fastapi.responses import RedirectResponse

from bulkhead.web.error_catalogue import describe_errors

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
PAGE = "docs.html"
PARTS = {
    "docs.css": "text/css; charset=utf-8",
    "docs.js": "text/javascript; charset=utf-8",
    "element.js": "text/javascript; charset=utf-8",
    "operation.js": "text/javascript; charset=utf-8",
    "schema.js": "text/javascript; charset=utf-8",
}


def docs_router() -> APIRouter:
    """The pages and what they are made of."""
    router = APIRouter(include_in_schema=False)
    page = _serve(PAGE, "text/html; charset=utf-8")
    router.add_api_route("/", _to_docs)
    router.add_api_route("/docs", page)
    router.add_api_route("/docs/errors", page)
    for name, media_type in PARTS.items():
        router.add_api_route(f"/docs/{name}", _serve(name, media_type))

    @router.get("/docs/errors.json")
    async def read_errors() -> list[dict[str, Any]]:
        return describe_errors()

    return router


async def _to_docs() -> Response:
    return RedirectResponse("/docs", status_code=303)


def _serve(name: str, media_type: str) -> Callable[[], Awaitable[Response]]:
    content = resources.files("bulkhead.web").joinpath("static", name).read_bytes()
    headers = {"content-security-policy": POLICY, "cache-control": "no-cache"}

    async def read_page() -> Response:
        return Response(content, media_type=media_type, headers=headers)

    return read_page
