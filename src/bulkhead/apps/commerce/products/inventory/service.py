"""Use cases of the inventory; each works on many orders in one statement."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from uuid import UUID

from bulkhead.apps.commerce.products.inventory.model import (
    Hold,
    ReservationClosed,
    StockExhausted,
    StockMissing,
)
from bulkhead.engine.connections.queries import load_queries
from bulkhead.engine.errors import BulkheadError

if TYPE_CHECKING:
    from bulkhead.engine.connections.transaction import Transaction

QUERIES = load_queries(__package__)


async def reserve_stock(
    tx: Transaction, holds: Sequence[Hold]
) -> list[dict[str, Any] | BulkheadError]:
    """Hold the stock of many orders, each in full or not at all, and answer each in turn.

    Repeatable: an order that holds its stock already keeps it. StockExhausted lists the short
    lines with what is available.
    """
    rows = await tx.fetch(QUERIES.reserve_stock, json.dumps([hold.to_json() for hold in holds]))
    answers = {row["order_id"]: _answer(row["state"], row["short"]) for row in rows}
    return [answers[hold.order_id] for hold in holds]


async def release_stock(tx: Transaction, orders: Sequence[UUID]) -> None:
    """Give back what the orders hold; an order that holds nothing yet never will."""
    await tx.fetch(QUERIES.release_stock, list(orders), "released")


async def expire_stock(tx: Transaction, orders: Sequence[UUID]) -> None:
    """As `release_stock`, for holds whose time has run out."""
    await tx.fetch(QUERIES.release_stock, list(orders), "expired")


async def sell_stock(tx: Transaction, orders: Sequence[UUID]) -> None:
    """Take what the orders hold out of stock for good, with a movement each; repeatable.

    An order that was cancelled meanwhile sells nothing. Raises StockMissing for an order that was
    paid for and holds nothing, which only a person can put right.
    """
    rows = await tx.fetch(QUERIES.commit_stock, list(orders))
    lost = [str(row["order_id"]) for row in rows if row["state"] in {"expired", "missing"}]
    if lost:
        raise StockMissing(orders=", ".join(lost))


async def take_back_stock(
    tx: Transaction, orders: Mapping[UUID, Sequence[tuple[UUID, int]]]
) -> None:
    """Give back what the orders hold, or have taken out of stock; repeatable, in any order."""
    rows = await tx.fetch(QUERIES.release_stock, list(orders), "released")
    movements = [
        {
            "order_id": str(row["order_id"]),
            "variant_id": str(variant_id),
            "quantity": quantity,
            "reason": "cancel",
        }
        for row in rows
        if row["state"] == "committed"
        for variant_id, quantity in orders[row["order_id"]]
    ]
    if movements:
        await tx.execute(QUERIES.restock, json.dumps(movements))


async def list_expired(tx: Transaction, limit: int) -> list[UUID]:
    """Orders whose hold has run out, oldest first."""
    return [row["order_id"] for row in await tx.fetch(QUERIES.list_expired, limit)]


def _answer(state: str, short: str | None) -> dict[str, Any] | BulkheadError:
    if state in {"held", "committed"}:
        return {"state": state}
    if state == "refused":
        return StockExhausted(lines=json.loads(short or "[]"))
    return ReservationClosed(state=state)
