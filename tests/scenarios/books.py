"""What must be true of a shop at rest, whatever has happened to it before.

Besides the invariants that `bulkhead doctor` checks too, it compares the orders with the books of
the payment company, which knows nothing of the databases.
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from tests.scenarios.market import Market

from bulkhead.apps.commerce.invariants import commerce_invariants
from bulkhead.apps.commerce.topology import TOPOLOGY
from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.monitoring.invariant import Invariant, run_invariants
from bulkhead.engine.monitoring.standard import AT_REST, CUT, standard_invariants

INVARIANTS = (
    *commerce_invariants(grace_s=0),
    *standard_invariants(TOPOLOGY, saga_grace_s=0),
    CUT,
    AT_REST,
)
QUICK = tuple(each for each in INVARIANTS if each.code != "I18")
"""Without the references between all tables, which cost more than all the others together."""
PAID = frozenset({"confirmed", "shipped", "delivered"})

CHARGES = "select key, amount from charges where state = 'succeeded'"
REFUNDS = "select charge_key, amount from refunds"

ORDERS = "select id, user_id, state, total, confirmed_at, ended_at from orders"
OPEN_SAGAS = "select count(*) from bulkhead.sagas where state in ('running', 'compensating')"
WAITING = "select count(*) from bulkhead.deliveries"
ENTRIES = "select subject_id, action from user_activity_logs where action like 'order.%'"
FACTS = {
    "orders": (
        "select id, state, end_reason from orders",
        "select order_id, attempt_no, state from payment_attempts",
        "select order_id, amount, refunded_amount from payments",
        "select order_id, request_key, amount, state from refunds",
        "select id, used_count, held_count from coupons",
        "select order_id, state from coupon_usage",
        "select id, state, result, error from bulkhead.sagas",
        "select saga_id, step, state from bulkhead.saga_steps",
    ),
    "products": (
        "select variant_id, on_hand, reserved from stock",
        "select order_id, state from stock_reservations",
        "select order_id, variant_id, quantity from stock_reservation_lines",
        "select variant_id, quantity, reason, order_id from inventory_movements",
        "select saga_id, step, state from bulkhead.saga_steps",
    ),
    "users": (ENTRIES,),
}


async def verify_books(market: Market, *, invariants: Sequence[Invariant] = QUICK) -> None:
    """Check a shop at rest; the first thing that is not as it must be fails the test."""
    report = await run_invariants(market.system.router, invariants)
    assert report.holds, str(report)
    for database in market.system.router:
        async with database.transaction(SERVICE, read_only=True) as tx:
            assert await tx.fetchval(WAITING) == 0, f"events wait in {database.name}"
            assert await tx.fetchval(OPEN_SAGAS) == 0, f"sagas are open in {database.name}"
    orders = await _rows(market, "orders", ORDERS)
    _verify_money(market, orders)
    await _verify_activity(market, orders)


def kept(market: Market) -> Counter[str]:
    """What the payment company has kept, in cents, by order."""
    books = sqlite3.connect(market.provider.path)
    try:
        found: Counter[str] = Counter()
        for key, amount in books.execute(CHARGES):
            found[key.rpartition("-")[0]] += int(Decimal(amount) * 100)
        for key, amount in books.execute(REFUNDS):
            found[key.rpartition("-")[0]] -= int(Decimal(amount) * 100)
    finally:
        books.close()
    return +found


async def facts(market: Market) -> str:
    """Everything that recovery may change, as one text."""
    rows: dict[str, list[str]] = {}
    for database, queries in FACTS.items():
        for query in queries:
            found = await _rows(market, database, query)
            rows[f"{database}: {query}"] = sorted(str(dict(row)) for row in found)
    return json.dumps([rows, sorted(kept(market).items())], indent=1)


def _verify_money(market: Market, orders: list[Any]) -> None:
    """The customer is charged if and only if the order is confirmed."""
    due = Counter({str(o["id"]): int(o["total"] * 100) for o in orders if o["state"] in PAID})
    assert kept(market) == +due


async def _verify_activity(market: Market, orders: list[Any]) -> None:
    entries = Counter(
        (row["subject_id"], row["action"]) for row in await _rows(market, "users", ENTRIES)
    )
    assert set(entries.values()) <= {1}
    told = {order for order, action in entries if action == "order.confirmed"}
    assert told == {order["id"] for order in orders if order["confirmed_at"]}
    told = {order for order, action in entries if action == "order.cancelled"}
    assert told == {order["id"] for order in orders if order["ended_at"]}


async def _rows(market: Market, database: str, query: str) -> list[Any]:
    async with market.system.database(database).transaction(SERVICE, read_only=True) as tx:
        return list(await tx.fetch(query))
