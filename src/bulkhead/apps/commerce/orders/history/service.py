"""Use cases of orders that exist."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from bulkhead.apps.commerce.events import OrderStatusChanged
from bulkhead.engine.connections.queries import load_queries
from bulkhead.engine.drivers.errors import CheckViolated
from bulkhead.engine.errors import Conflict, NotFound
from bulkhead.engine.messaging.outbox import publish

if TYPE_CHECKING:
    import datetime as dt

    from bulkhead.engine.connections.transaction import Transaction

QUERIES = load_queries(__package__)


class OrderStateRefused(Conflict):
    """Order {order_id} is {state} and cannot become {wanted}."""

    code = "order_state_refused"


async def list_orders(
    db: Transaction, user_id: UUID, *, before: tuple[dt.datetime, UUID] | None, limit: int
) -> str:
    """A page of the user's orders as JSON text, newest first, older than `before`."""
    created_at, order_id = before or (None, None)
    page: str = await db.fetchval(QUERIES.list_orders, user_id, created_at, order_id, limit)
    return page


async def get_order(db: Transaction, order_id: UUID) -> str:
    """One order as JSON text; raises NotFound, also for an order of somebody else."""
    order: str | None = await db.fetchval(QUERIES.get_order, order_id)
    if order is None:
        raise NotFound(what=f"Order {order_id}")
    return order


async def get_order_state(db: Transaction, order_id: UUID) -> str:
    """How an order stands; raises NotFound, also for an order of somebody else."""
    row = await db.fetchrow(QUERIES.find_owner, order_id)
    if row is None:
        raise NotFound(what=f"Order {order_id}")
    state: str = row["state"]
    return state


async def move_order(tx: Transaction, order_id: UUID, status: str) -> None:
    """Let an order become shipped or delivered, and tell the other databases.

    Repeatable. Raises NotFound, and OrderStateRefused when it is not next in line.
    """
    state = await get_order_state(tx, order_id)
    try:
        row = await tx.fetchrow(QUERIES.move_order, order_id, status)
    except CheckViolated as error:
        if error.constraint != "orders_edges":
            raise
        raise OrderStateRefused(order_id=order_id, state=state, wanted=status) from error
    if row is not None:
        event = OrderStatusChanged(
            order_id, row["user_id"], row["order_number"], status, tuple(row["products"])
        )
        publish(tx, event)
