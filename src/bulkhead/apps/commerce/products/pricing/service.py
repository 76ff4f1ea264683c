"""Quotes for lines named in a request or standing in the cart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from uuid import UUID

from bulkhead.apps.commerce.products.pricing.model import (
    CartEmpty,
    CurrencyMixed,
    Quote,
    QuotedLine,
    VariantUnknown,
)
from bulkhead.engine.connections.queries import load_queries
from bulkhead.engine.errors import BulkheadError

if TYPE_CHECKING:
    from bulkhead.engine.connections.transaction import Transaction

QUERIES = load_queries(__package__)


async def quote_lines(db: Transaction, quantities: Mapping[UUID, int]) -> Quote:
    """Price these variants; raises CartEmpty, VariantUnknown, CurrencyMixed.

    A variant that the asking role cannot see, such as an unpublished one, counts as unknown.
    """
    [quote] = await quote_many(db, [quantities])
    if isinstance(quote, BulkheadError):
        raise quote
    return quote


async def quote_many(
    db: Transaction, wishes: Sequence[Mapping[UUID, int]]
) -> list[Quote | BulkheadError]:
    """Price many wishes with one query; a wish that cannot be priced is answered with its error."""
    wanted = list({variant_id for wish in wishes for variant_id in wish})
    rows = {row["variant_id"]: row for row in await db.fetch(QUERIES.quote_variants, wanted)}
    return [_quote(rows, wish) for wish in wishes]


async def quote_cart(db: Transaction) -> Quote:
    """Price the cart of the asking user; raises as `quote_lines`."""
    rows = await db.fetch(QUERIES.list_cart_lines)
    return await quote_lines(db, {row["variant_id"]: row["quantity"] for row in rows})


def _quote(
    rows: Mapping[UUID, Mapping[str, Any]], quantities: Mapping[UUID, int]
) -> Quote | BulkheadError:
    if not quantities:
        return CartEmpty()
    missing = [str(variant_id) for variant_id in quantities if variant_id not in rows]
    if missing:
        return VariantUnknown(variant_ids=", ".join(missing))
    currencies = {rows[variant_id]["currency"] for variant_id in quantities}
    if len(currencies) > 1:
        return CurrencyMixed(currencies=", ".join(sorted(currencies)))
    lines = tuple(_line(rows[variant_id], quantity) for variant_id, quantity in quantities.items())
    return Quote(lines, currencies.pop())


def _line(row: Mapping[str, Any], quantity: int) -> QuotedLine:
    variant = row["variant_title"]
    return QuotedLine(
        variant_id=row["variant_id"],
        product_id=row["product_id"],
        sku=row["sku"],
        title=f"{row['product_title']}, {variant}" if variant else row["product_title"],
        unit_price=row["price"],
        quantity=quantity,
    )
