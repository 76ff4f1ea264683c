"""Use cases that follow an order in the products database."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING
from uuid import UUID

from bulkhead.engine.clock import now
from bulkhead.engine.connections.queries import load_queries

if TYPE_CHECKING:
    from bulkhead.engine.connections.transaction import Transaction

QUERIES = load_queries(__package__)


async def forget_bought(
    tx: Transaction, bought: Sequence[tuple[UUID, UUID, Sequence[UUID]]]
) -> None:
    """Take what orders have sold in `tx` out of carts: for each its id, the user, the variants.

    What was put into a cart after the order was placed stays there. Repeatable: of what was sold
    before, nothing is taken.
    """
    rows = [
        {"order_id": str(order_id), "user_id": str(user_id), "variant_id": str(variant_id)}
        for order_id, user_id, variants in bought
        for variant_id in variants
    ]
    found = json.dumps(rows)
    # In a statement of its own: only what comes after it sees what the customers did meanwhile.
    if await tx.fetch(QUERIES.lock_bought, found):
        await tx.execute(QUERIES.forget_bought, found)


async def verify_purchases(
    tx: Transaction, user_id: UUID, order_id: UUID, products: Sequence[UUID]
) -> None:
    """Note that a customer was sent these products; repeatable."""
    rows = [
        {
            "user_id": str(user_id),
            "product_id": str(product_id),
            "order_id": str(order_id),
            "delivered_at": now().isoformat(),
        }
        for product_id in products
    ]
    await tx.execute(QUERIES.verify_purchases, json.dumps(rows))
