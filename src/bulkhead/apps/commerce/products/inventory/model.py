"""Values of the inventory."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from bulkhead.engine.errors import Conflict


class StockExhausted(Conflict):
    """There is not enough stock for this order."""

    code = "stock_exhausted"
    hint = "Lower the quantities to what is available, or take the lines out."


class ReservationClosed(Conflict):
    """The stock of this order was {state} before it could be held."""

    code = "reservation_closed"
    hint = "Place a new order with a new Idempotency-Key."


class StockMissing(Conflict):
    """Orders that were paid for hold no stock any more: {orders}."""

    code = "stock_missing"
    hint = "Receive stock and resend the event, or cancel the orders, which refunds them."


@dataclass(frozen=True, slots=True)
class Line:
    """So many units of a variant."""

    variant_id: UUID
    quantity: int


@dataclass(frozen=True, slots=True)
class Hold:
    """The stock that an order asks for, and for how long."""

    order_id: UUID
    lines: tuple[Line, ...]
    ttl_s: float

    def to_json(self) -> dict[str, Any]:
        """The form that `private.reserve_stock` takes."""
        return {
            "order_id": str(self.order_id),
            "ttl_s": self.ttl_s,
            "lines": [
                {"variant_id": str(line.variant_id), "quantity": line.quantity}
                for line in self.lines
            ],
        }
