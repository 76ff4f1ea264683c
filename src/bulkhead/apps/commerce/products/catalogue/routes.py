"""`/products`, `/categories` and `/collections`: open to everybody, read under the caller's claims.

The answers are passed on as the database made them. Parameters are read by hand and described by
hand, since a request costs less than what a framework would add to it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from uuid import UUID

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from bulkhead.apps.commerce.products.catalogue.model import (
    FILTERS,
    LIMIT_DEFAULT,
    LIMIT_MAX,
    CollectionUnknown,
    ProductUnknown,
    Sort,
    is_slug,
    parse_listing,
)
from bulkhead.apps.commerce.products.catalogue.service import (
    get_collection,
    get_product,
    list_category_tree,
    list_collections,
    list_products,
)
from bulkhead.engine.connections.claims import Claims

if TYPE_CHECKING:
    from bulkhead.engine.connections.database import OpenDatabase

ClaimsOf = Callable[[Request], Awaitable[Claims]]
"""The claims of a request: ANON for a visitor; raises Unauthenticated for a bad token."""


def routes(products: OpenDatabase, claims_of: ClaimsOf) -> APIRouter:
    """The routes of the catalogue over the database `products`."""
    router = APIRouter(tags=["catalogue"])

    @router.get("/products", openapi_extra={"parameters": LISTING_PARAMETERS})
    async def get_products(request: Request) -> Response:
        """List products, a page at a time."""
        listing = parse_listing(request.query_params.multi_items())
        async with products.transaction(await claims_of(request), read_only=True) as db:
            body = await list_products(db, listing)
        return json_response(body)

    @router.get("/products/{product}", openapi_extra={"parameters": [PRODUCT_PARAMETER]})  # noqa: FAST003 - read by hand
    async def get_one_product(request: Request) -> Response:
        """Show a product by its id or slug."""
        wanted = parse_product(request.path_params["product"])
        async with products.transaction(await claims_of(request), read_only=True) as db:
            body = await get_product(db, wanted)
        return json_response(body)

    @router.get("/categories")
    async def get_categories(request: Request) -> Response:
        """Show the tree of categories."""
        async with products.transaction(await claims_of(request), read_only=True) as db:
            tree = await list_category_tree(db)
        return JSONResponse({"items": tree})

    @router.get("/collections")
    async def get_collections(request: Request) -> Response:
        """List the collections."""
        async with products.transaction(await claims_of(request), read_only=True) as db:
            body = await list_collections(db)
        return json_response(body)

    @router.get("/collections/{slug}")
    async def get_one_collection(request: Request, slug: str) -> Response:
        """Show a collection; its products are at `/products?collection={slug}&sort=position`."""
        if not is_slug(slug):
            raise CollectionUnknown(collection="?")
        async with products.transaction(await claims_of(request), read_only=True) as db:
            body = await get_collection(db, slug)
        return json_response(body)

    return router


def json_response(body: str) -> Response:
    """An answer whose body is JSON already."""
    return Response(body.encode(), media_type="application/json")


def parse_product(text: str) -> UUID | str:
    """Read an id or a slug; raises ProductUnknown for what is neither."""
    try:
        return UUID(text)
    except ValueError:
        if is_slug(text):
            return text
        raise ProductUnknown(product="?") from None


def in_query(name: str, schema: Mapping[str, Any], description: str) -> dict[str, Any]:
    """The description of a parameter of the query string."""
    return {"name": name, "in": "query", "schema": schema, "description": description}


_TEXT = {"type": "string"}
PRODUCT_PARAMETER = {"name": "product", "in": "path", "required": True, "schema": _TEXT}
_AMOUNT = {"type": "string", "pattern": r"^[0-9]{1,10}(\.[0-9]{1,2})?$"}
_FILTER_SCHEMAS: Mapping[str, tuple[Mapping[str, Any], str]] = {
    "category": (_TEXT, "Slug or id of a category; what is filed below it counts."),
    "collection": (_TEXT, "Slug of a collection."),
    "brand": ({"type": "array", "items": _TEXT}, "Brands of which one must fit."),
    "price_min": (_AMOUNT, "The lowest price."),
    "price_max": (_AMOUNT, "The highest price."),
    "in_stock": ({"type": "boolean", "default": False}, "Only what can be sent now."),
}
FILTER_PARAMETERS: Sequence[Mapping[str, Any]] = [
    *(in_query(name, *_FILTER_SCHEMAS[name]) for name in FILTERS),
    in_query(
        "attribute",
        {"type": "object", "additionalProperties": {"type": "array", "items": _TEXT}},
        "Wanted values, as `attribute.<code>=<value>`; several values of a code are alternatives.",
    ),
]
LIMIT_PARAMETER = in_query(
    "limit",
    {"type": "integer", "minimum": 1, "maximum": LIMIT_MAX, "default": LIMIT_DEFAULT},
    "How many products a page holds.",
)
LISTING_PARAMETERS = [
    *FILTER_PARAMETERS,
    in_query("sort", {"type": "string", "enum": list(Sort), "default": "newest"}, "The order."),
    LIMIT_PARAMETER,
    in_query("cursor", _TEXT, "The `next_cursor` of the page before."),
]
