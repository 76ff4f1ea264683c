"""Quotes for lines named in a request or standing in the cart."""

from __future__ import annotations

from collections.abc import Mapping
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

if TYPE_CHECKING:
    from bulkhead.engine.connections.transaction import Transaction

QUERIES = load_queries(__package__)


async def quote_lines(db: Transaction, quantities: Mapping[UUID, int]) -> Quote:
    """Price these variants; raises CartEmpty, VariantUnknown, CurrencyMixed.

    A variant that the asking role cannot see, such as an unpublished one, counts as unknown.
    """
    if not quantities:
        raise CartEmpty
    rows = await db.fetch(QUERIES.quote_variants, list(quantities))
    found = {row["variant_id"]: row for row in rows}
    missing = [str(variant_id) for variant_id in quantities if variant_id not in found]
    if missing:
        raise VariantUnknown(variant_ids=", ".join(missing))
    currencies = {row["currency"] for row in rows}
    if len(currencies) > 1:
        raise CurrencyMixed(currencies=", ".join(sorted(currencies)))
    lines = tuple(_line(found[variant_id], quantity) for variant_id, quantity in quantities.items())
    return Quote(lines, currencies.pop())


async def quote_cart(db: Transaction) -> Quote:
    """Price the cart of the asking user; raises as `quote_lines`."""
    rows = await db.fetch(QUERIES.list_cart_lines)
    return await quote_lines(db, {row["variant_id"]: row["quantity"] for row in rows})


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
