"""What must always be true of the shop, within each database and between them.

Between databases things settle within seconds, so that orders are looked at once they have rested
for a while; at rest (all events delivered, all sagas ended) `commerce_invariants(grace_s=0)` holds.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import UUID

from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.connections.queries import load_queries
from bulkhead.engine.monitoring.invariant import (
    VIOLATIONS_MAX,
    Check,
    Invariant,
    Violation,
    rows_of,
)
from bulkhead.engine.monitoring.numbers import find_not_numbers

if TYPE_CHECKING:
    from bulkhead.engine.connections.router import Router

ORDERS = load_queries("bulkhead.apps.commerce.orders.audit")
PRODUCTS = load_queries("bulkhead.apps.commerce.products.audit")

GRACE_S = 300.0
PAGE_ORDERS = 1000

LIVE = frozenset({"confirmed", "shipped", "delivered"})


def commerce_invariants(grace_s: float = GRACE_S) -> tuple[Invariant, ...]:
    """The invariants of the shop; `grace_s` is how long what spans databases may take."""
    return (
        Invariant(
            "I1",
            "stock is the sum of its movements and promises what open orders hold",
            rows_of("products", PRODUCTS.miscounted_stock),
        ),
        Invariant(
            "I2",
            "every order that was paid for has its goods, and nothing else holds any for long",
            partial(find_misheld, grace_s=grace_s),
        ),
        Invariant(
            "I3",
            "coupons are used no more often than allowed, and counted right",
            _both(
                rows_of("orders", ORDERS.miscounted_coupons),
                rows_of("orders", ORDERS.overused_coupons),
            ),
        ),
        Invariant(
            "I4",
            "totals add up, and no more is captured or given back than is due",
            _both(
                rows_of("orders", ORDERS.unbalanced_orders),
                rows_of("orders", ORDERS.overpaid_refunds),
            ),
        ),
        Invariant("I5", "every number is one", find_not_numbers),
        Invariant(
            "I6",
            "every payment is booked once, and every event of a payment company leads to something",
            _both(
                rows_of("orders", ORDERS.unbooked_attempts),
                rows_of("orders", ORDERS.unprocessed_events, grace_s),
            ),
        ),
        Invariant(
            "I21",
            "what was ordered is what was taken out of stock",
            partial(find_missold, grace_s=grace_s),
        ),
    )


async def find_misheld(router: Router, grace_s: float) -> list[Violation]:
    """Orders without the stock they need, and stock held for orders that do not need it."""
    found: list[Violation] = []
    pages = _books(router, grace_s)
    async with aclosing(pages):
        async for page in pages:
            found += [
                Violation(
                    f"orders.orders {order['order_number']}",
                    f"is {order['state']}, its stock is {stock['state']} with {stock['held']}",
                )
                for order, stock in page
                if not _holds_right(order, stock)
            ]
    return found + await _find_overdue_holds(router, grace_s)


async def find_missold(router: Router, grace_s: float) -> list[Violation]:
    """Orders of which something else has left the stock than they contain."""
    found: list[Violation] = []
    pages = _books(router, grace_s)
    async with aclosing(pages):
        async for page in pages:
            for order, stock in page:
                due = json.loads(order["quantities"]) if order["state"] in LIVE else {}
                sold = json.loads(stock["sold"])
                if sold != due:
                    detail = f"is {order['state']}: {due} is due, {sold} was taken out of stock"
                    found.append(Violation(f"orders.orders {order['order_number']}", detail))
    return found


def _holds_right(order: Mapping[str, Any], stock: Mapping[str, Any]) -> bool:
    if order["state"] in LIVE:
        same: bool = json.loads(stock["held"]) == json.loads(order["quantities"])
        return same and stock["state"] in {"held", "committed"}
    pending: bool = order["state"] == "pending"
    return pending or stock["state"] != "held"


async def _find_overdue_holds(router: Router, grace_s: float) -> list[Violation]:
    async with router.database("products").transaction(SERVICE, read_only=True) as db:
        rows = await db.fetch(PRODUCTS.overdue_holds, grace_s, VIOLATIONS_MAX)
    ids = [row["order_id"] for row in rows]
    async with router.database("orders").transaction(SERVICE, read_only=True) as db:
        known = {row["id"]: row["state"] for row in await db.fetch(ORDERS.list_known, ids)}
    return [
        Violation(
            f"products.stock_reservations {order_id}",
            f"held past its time for an order that is {known.get(order_id, 'missing')}",
        )
        for order_id in ids
        if known.get(order_id) not in LIVE
    ]


async def _books(
    router: Router, grace_s: float
) -> AsyncGenerator[list[tuple[Mapping[str, Any], Mapping[str, Any]]], None]:
    """Yield pages of orders with what the stock knows of each."""
    after = UUID(int=0)
    while True:
        async with router.database("orders").transaction(SERVICE, read_only=True) as db:
            orders = await db.fetch(ORDERS.ordered_quantities, after, grace_s, PAGE_ORDERS)
        if not orders:
            return
        ids = [order["id"] for order in orders]
        async with router.database("products").transaction(SERVICE, read_only=True) as db:
            stock = {row["id"]: row for row in await db.fetch(PRODUCTS.held_and_sold, ids)}
        yield [(order, stock[order["id"]]) for order in orders]
        after = ids[-1]


def _both(first: Check, second: Check) -> Check:
    async def check(router: Router) -> list[Violation]:
        return [*await first(router), *await second(router)]

    return check
