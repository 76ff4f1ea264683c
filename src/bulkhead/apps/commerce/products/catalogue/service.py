"""Reading the catalogue: the statements build whole answers, which Python only passes on."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import count
from typing import TYPE_CHECKING, Any
from uuid import UUID

from bulkhead.apps.commerce.products.catalogue.model import (
    CollectionUnknown,
    Listing,
    ProductUnknown,
    Sort,
)
from bulkhead.engine.connections.queries import load_queries

if TYPE_CHECKING:
    from bulkhead.engine.connections.transaction import Transaction

QUERIES = load_queries(__package__)
SHAPES_MAX = 1000

_PARAMETER = re.compile(r"(?<![:\w]):([a-z_]+[0-9]?)\b")
_PAGES = {
    Sort.NEWEST: QUERIES.page_newest,
    Sort.PRICE: QUERIES.page_price,
    Sort.PRICE_DESC: QUERIES.page_price_desc,
    Sort.NAME: QUERIES.page_name,
    Sort.RATING: QUERIES.page_rating,
    Sort.POSITION: QUERIES.page_position,
}
_FILTERS = {
    "category": QUERIES.only_category,
    "collection": QUERIES.only_collection,
    "brands": QUERIES.only_brands,
    "price_min": QUERIES.only_price_min,
    "price_max": QUERIES.only_price_max,
    "in_stock": QUERIES.only_in_stock,
    "attribute": QUERIES.only_attribute,
}


@dataclass(frozen=True, slots=True)
class Statement:
    """SQL with numbered parameters, and the names that they had."""

    sql: str
    names: tuple[str, ...]

    def arguments(self, values: Mapping[str, object]) -> list[object]:
        """The values in the order of the numbers."""
        return [values[name] for name in self.names]


def compose(template: str, **parts: str) -> Statement:
    """Put parts into the braces of a template and number the parameters, `:name` -> `$1`."""
    for name, part in parts.items():
        template = template.replace(f"{{{name}}}", part)
    numbers: dict[str, int] = {}

    def number(match: re.Match[str]) -> str:
        return f"${numbers.setdefault(match[1], len(numbers) + 1)}"

    sql = _PARAMETER.sub(number, template)
    return Statement(sql, tuple(numbers))


def filter_text(shape: tuple[str, ...]) -> str:
    """The conditions of the filters that matter."""
    attributes = count()
    return "\n".join(
        _FILTERS[name].replace("{number}", str(next(attributes)))
        if name == "attribute"
        else _FILTERS[name]
        for name in shape
    )


def card_text(more: str = "") -> str:
    """The part of a statement that renders the products of its `page`."""
    cards: str = QUERIES.cards
    return cards.replace("{more}", more)


async def list_products(db: Transaction, listing: Listing) -> str:
    """One page as JSON: `items` and the `next_cursor`, which is null on the last page."""
    statement = _listing_statement(listing.sort, listing.limit, listing.filters.shape())
    values = {
        **listing.filters.parameters(),
        "sort": listing.sort.value,
        "after": listing.after.key,
        "after_id": listing.after.product_id,
    }
    body: str = await db.fetchval(statement.sql, *statement.arguments(values))
    return body


async def get_product(db: Transaction, product: UUID | str) -> str:
    """A published product by id or slug, as JSON; raises ProductUnknown."""
    statement = _BY_ID if isinstance(product, UUID) else _BY_SLUG
    body: str | None = await db.fetchval(statement.sql, product)
    if body is None:
        raise ProductUnknown(product=product)
    return body


async def list_category_tree(db: Transaction) -> list[dict[str, Any]]:
    """The categories at the root, each with its `children`."""
    nodes: dict[UUID, dict[str, Any]] = {}
    roots: list[dict[str, Any]] = []
    for row in await db.fetch(QUERIES.list_categories):
        node = {
            "id": str(row["id"]),
            "slug": row["slug"],
            "name": row["name"],
            "description": row["description"],
            "product_count": row["product_count"],
            "children": [],
        }
        nodes[row["id"]] = node
        above = roots if row["parent_id"] is None else nodes[row["parent_id"]]["children"]
        above.append(node)
    return roots


async def list_collections(db: Transaction) -> str:
    """The published collections as JSON."""
    body: str = await db.fetchval(QUERIES.list_collections)
    return body


async def get_collection(db: Transaction, slug: str) -> str:
    """A published collection as JSON; raises CollectionUnknown."""
    body: str | None = await db.fetchval(_COLLECTION.sql, slug)
    if body is None:
        raise CollectionUnknown(collection=slug)
    return body


@lru_cache(maxsize=SHAPES_MAX)
def _listing_statement(sort: Sort, limit: int, shape: tuple[str, ...]) -> Statement:
    # The limit is part of the text: with a parameter in its place PostgreSQL expects so many rows
    # that it plans anew each time, which takes longer than the statement.
    # The order of a collection names the collection itself.
    needed = tuple(name for name in shape if sort is not Sort.POSITION or name != "collection")
    return compose(
        QUERIES.list_products,
        page=_PAGES[sort],
        cards=card_text(),
        filters=filter_text(needed),
        limit=str(limit),
    )


_BY_ID = compose(QUERIES.get_product, match=QUERIES.match_id)
_BY_SLUG = compose(QUERIES.get_product, match=QUERIES.match_slug)
_COLLECTION = compose(QUERIES.get_collection)
