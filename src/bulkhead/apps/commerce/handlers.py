"""What the databases do when something has happened in another one.

Each handler runs in one transaction of its own database, together with the row that notes the
event as received. All of them are repeatable besides, by what they write.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from uuid import UUID

from bulkhead.apps.commerce.events import OrderCancelled, OrderConfirmed, OrderStatusChanged
from bulkhead.apps.commerce.products.inventory.service import sell_stock, take_back_stock
from bulkhead.apps.commerce.products.purchases.service import forget_bought, verify_purchases
from bulkhead.apps.commerce.topology import TOPOLOGY
from bulkhead.apps.commerce.users.activity.service import Activity, log_activity
from bulkhead.engine.ids import derive_id
from bulkhead.engine.messaging.subscription import Subscription
from bulkhead.engine.references.deletion import deletion_subscriptions

if TYPE_CHECKING:
    from bulkhead.engine.connections.transaction import Transaction


async def sell(tx: Transaction, events: Sequence[OrderConfirmed]) -> None:
    """Take what the orders hold out of stock, and out of their customers' carts."""
    await sell_stock(tx, [event.order_id for event in events])
    await forget_bought(tx, [(it.order_id, it.user_id, it.variants) for it in events])


async def take_back(tx: Transaction, events: Sequence[OrderCancelled]) -> None:
    """Give back what the orders hold or have taken out of stock."""
    await take_back_stock(tx, {event.order_id: event.lines for event in events})


async def verify(tx: Transaction, event: OrderStatusChanged) -> None:
    """Mark the customer's reviews of delivered products as those of a buyer."""
    if event.status == "delivered":
        await verify_purchases(tx, event.user_id, event.order_id, event.products)


async def log_confirmed(tx: Transaction, events: Sequence[OrderConfirmed]) -> None:
    """Tell the customer's activity log of orders that were paid for."""
    await log_activity(
        tx,
        [
            _entry(
                event.order_id,
                event.user_id,
                "order.confirmed",
                order_number=event.order_number,
                total=str(event.total),
                currency=event.currency,
            )
            for event in events
        ],
    )


async def log_cancelled(tx: Transaction, events: Sequence[OrderCancelled]) -> None:
    """Tell the customer's activity log of orders that ended."""
    await log_activity(
        tx,
        [
            _entry(
                event.order_id,
                event.user_id,
                "order.cancelled",
                order_number=event.order_number,
                reason=event.reason,
            )
            for event in events
        ],
    )


async def log_status(tx: Transaction, events: Sequence[OrderStatusChanged]) -> None:
    """Tell the customer's activity log how orders moved on."""
    await log_activity(
        tx,
        [
            _entry(
                event.order_id,
                event.user_id,
                f"order.{event.status}",
                order_number=event.order_number,
            )
            for event in events
        ],
    )


def _entry(order_id: UUID, user_id: UUID, action: str, **details: Any) -> Activity:  # noqa: ANN401
    entry_id = derive_id("commerce.activity", order_id, action)
    return Activity(entry_id, user_id, action, order_id, details)


SUBSCRIPTIONS = (
    *deletion_subscriptions(TOPOLOGY),
    Subscription(OrderConfirmed, "products", "products.sell", sell, batch=True),
    Subscription(OrderConfirmed, "users", "users.log_confirmed", log_confirmed, batch=True),
    Subscription(OrderCancelled, "products", "products.take_back", take_back, batch=True),
    Subscription(OrderCancelled, "users", "users.log_cancelled", log_cancelled, batch=True),
    Subscription(OrderStatusChanged, "products", "products.verify", verify),
    Subscription(OrderStatusChanged, "users", "users.log_status", log_status, batch=True),
)
