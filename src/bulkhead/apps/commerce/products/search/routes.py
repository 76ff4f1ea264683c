"""`/search`: open to everybody, read under the caller's claims."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import APIRouter, Request
from starlette.responses import Response

from bulkhead.apps.commerce.products.catalogue.routes import (
    FILTER_PARAMETERS,
    LIMIT_PARAMETER,
    ClaimsOf,
    in_query,
    json_response,
)
from bulkhead.apps.commerce.products.search.model import (
    OFFSET_MAX,
    TEXT_LENGTH_MAX,
    Language,
    SearchSort,
    parse_search,
)
from bulkhead.apps.commerce.products.search.service import search_products

if TYPE_CHECKING:
    from bulkhead.engine.connections.database import OpenDatabase

SEARCH_PARAMETERS = [
    in_query(
        "q",
        {"type": "string", "maxLength": TEXT_LENGTH_MAX},
        'Words; "a phrase", `or`, and `-` before what is not wanted. Without it the filters alone.',
    ),
    in_query(
        "language",
        {"type": "string", "enum": list(Language), "default": "english"},
        "The language of the words.",
    ),
    *FILTER_PARAMETERS,
    in_query("sort", {"type": "string", "enum": list(SearchSort)}, "The order."),
    LIMIT_PARAMETER,
    in_query(
        "offset",
        {"type": "integer", "minimum": 0, "maximum": OFFSET_MAX, "default": 0},
        "How many products are passed over.",
    ),
    in_query("facets", {"type": "boolean", "default": False}, "Count what filters would leave."),
    in_query("highlight", {"type": "boolean", "default": False}, "Mark the words that fit."),
]


def routes(products: OpenDatabase, claims_of: ClaimsOf) -> APIRouter:
    """The route of the search over the database `products`."""
    router = APIRouter(tags=["catalogue"])

    @router.get("/search", openapi_extra={"parameters": SEARCH_PARAMETERS})
    async def get_search(request: Request) -> Response:
        """Search for products."""
        search = parse_search(request.query_params.multi_items())
        async with products.transaction(await claims_of(request), read_only=True) as db:
            body = await search_products(db, search)
        return json_response(body)

    return router
