"""Full-text search over what is for sale, one statement a page."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from bulkhead.apps.commerce.products.catalogue.service import (
    SHAPES_MAX,
    Statement,
    card_text,
    compose,
    filter_text,
)
from bulkhead.apps.commerce.products.search.model import (
    FACET_VALUES_MAX,
    FOUND_MAX,
    PRICE_BORDERS,
    Search,
    SearchSort,
)
from bulkhead.engine.connections.queries import load_queries

if TYPE_CHECKING:
    from bulkhead.engine.connections.transaction import Transaction

QUERIES = load_queries(__package__)

_ORDERS = {
    SearchSort.RELEVANCE: (QUERIES.key_rating, QUERIES.order_relevance),
    SearchSort.NEWEST: (QUERIES.key_newest, QUERIES.order_down),
    SearchSort.PRICE: (QUERIES.key_price, QUERIES.order_up),
    SearchSort.PRICE_DESC: (QUERIES.key_price, QUERIES.order_down),
    SearchSort.NAME: (QUERIES.key_name, QUERIES.order_up),
    SearchSort.RATING: (QUERIES.key_rating, QUERIES.order_down),
}


async def search_products(db: Transaction, search: Search) -> str:
    """One page of what was found, as JSON.

    `total` counts everything found, up to FOUND_MAX. `corrected` holds the words that were
    searched for instead when nothing had the given ones. `facets` and the items' `highlight` are
    there when asked for.
    """
    statement = _statement(
        search.text is not None,
        search.sort,
        search.limit,
        search.filters.shape(),
        (search.facets, search.highlight),
    )
    head, prefix = search.unfinished
    values = {
        **search.filters.parameters(),
        "text": search.text,
        "language": search.language.value,
        "head": head,
        "prefix": prefix,
        "words": search.words,
        "offset": search.offset,
        "facet_max": FACET_VALUES_MAX,
        "price_borders": list(PRICE_BORDERS),
    }
    body: str = await db.fetchval(statement.sql, *statement.arguments(values))
    return body


@lru_cache(maxsize=SHAPES_MAX)
def _statement(
    words: bool,  # noqa: FBT001 - part of the cache's key
    sort: SearchSort,
    limit: int,
    shape: tuple[str, ...],
    extras: tuple[bool, bool],
) -> Statement:
    facets, highlight = extras
    key, order = _ORDERS[sort]
    found: str = QUERIES.by_words if words else QUERIES.by_filters
    return compose(
        QUERIES.search_products,
        found=found,
        key=key,
        filters=filter_text(shape),
        order=order,
        corrected=QUERIES.corrected if words else "null::text",
        cards=card_text(QUERIES.highlight if highlight else ""),
        facets=QUERIES.facets if facets else "null::json",
        limit=str(limit),
        found_max=str(FOUND_MAX),
    )
