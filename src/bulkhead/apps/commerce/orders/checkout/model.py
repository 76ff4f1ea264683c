"""Values of a checkout: what a client sends, what is written, and what may be refused."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from bulkhead.apps.commerce.orders.pricing.model import Coupon, Price
from bulkhead.engine.errors import BulkheadError, Conflict, Invalid
from bulkhead.http.texts import Shown, ShownLine

DEADLINE_S = 600.0
"""How long an order waits to be paid for; shorter than its hold on stock."""
HOLD_S = 900.0
ATTEMPTS_MAX = 3
LINES_MAX = 200
KEY_LENGTH_MAX = 255


class PaymentDeclined(BulkheadError):
    """The payment was declined ({decline_code}); order {order_number} waits for another card."""

    code = "payment_declined"
    status = 402
    hint = "Try another card: POST /commerce/orders/{order_id}/payments, with a new key."


class PaymentRefused(Conflict):
    """The payment was declined ({decline_code}) once too often; order {order_number} has ended."""

    code = "payment_refused"
    status = 402
    hint = "Place a new order with a new Idempotency-Key."


class OrderEnded(Conflict):
    """Order {order_number} ended before its payment arrived; the payment goes back."""

    code = "order_ended"
    hint = "Place a new order with a new Idempotency-Key."


class PriceChanged(Conflict):
    """The order now costs {total} {currency}, not {expected_total}."""

    code = "price_changed"
    hint = "Show the new total to the customer and send it as expected_total, with a new key."


@dataclass(frozen=True, slots=True)
class OrderDraft:
    """An order as the customer confirmed it, before anything is written."""

    order_id: UUID
    user_id: UUID
    email: str | None
    currency: str
    price: Price
    items: Sequence[Mapping[str, Any]]
    shipping_address: Mapping[str, Any]
    shipping_method: str
    coupon: Coupon | None
    request_hash: str
    provider: str
    note: str | None = None

    def to_json(self) -> dict[str, Any]:
        """The input of the saga, and the form that `private.open_orders` takes."""
        return {
            "id": str(self.order_id),
            "user_id": str(self.user_id),
            "email": self.email,
            "currency": self.currency,
            "items_total": str(self.price.items),
            "discount_total": str(self.price.discount),
            "tax_total": str(self.price.tax),
            "shipping_total": str(self.price.shipping),
            "total": str(self.price.total),
            "coupon_id": str(self.coupon.id) if self.coupon else None,
            "coupon_code": self.coupon.code if self.coupon else None,
            "shipping_address": dict(self.shipping_address),
            "shipping_method": self.shipping_method,
            "customer_note": self.note,
            "request_hash": self.request_hash,
            "deadline_s": DEADLINE_S,
            "provider": self.provider,
            "items": [dict(item) for item in self.items],
        }


class IdempotencyKeyMissing(Invalid):
    """The request needs a header Idempotency-Key of 1 to 255 printable ASCII characters."""

    code = "idempotency_key_missing"
    status = 400
    hint = "Send a random UUID, and the same one when you repeat the request."


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


Text = Annotated[str, Field(min_length=1, max_length=200), ShownLine]


class LineBody(_Body):
    """So many units of a variant."""

    variant_id: UUID
    quantity: Annotated[int, Field(ge=1, le=10_000, strict=True)]


class AddressBody(_Body):
    """Where the order goes."""

    name: Text
    line1: Text
    line2: Annotated[str, Field(max_length=200), ShownLine] | None = None
    city: Text
    region: Annotated[str, Field(max_length=200), ShownLine] | None = None
    postal_code: Annotated[str, Field(max_length=20), ShownLine] | None = None
    country: Annotated[str, Field(min_length=2, max_length=60), ShownLine]
    phone: Annotated[str, Field(max_length=40), ShownLine] | None = None


class CheckoutBody(_Body):
    """An order to be placed; without `lines` it is what stands in the cart."""

    lines: Annotated[list[LineBody], Field(min_length=1, max_length=LINES_MAX)] | None = None
    shipping_address: AddressBody
    shipping_method: Annotated[str, Field(max_length=60)] = "standard"
    coupon_code: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{3,40}$")] | None = None
    payment_source: Annotated[str, Field(min_length=1, max_length=200)]
    expected_total: Annotated[Decimal, Field(ge=0, max_digits=12, decimal_places=2)] | None = None
    note: Annotated[str, Field(max_length=2000), Shown] | None = None

    def quantities(self) -> dict[UUID, int]:
        """The quantity of each variant; two lines of one variant are added up."""
        totals: dict[UUID, int] = {}
        for line in self.lines or ():
            totals[line.variant_id] = totals.get(line.variant_id, 0) + line.quantity
        return totals


class PaymentBody(_Body):
    """Another card for an order whose payment was declined."""

    payment_source: Annotated[str, Field(min_length=1, max_length=200)]


def parse_key(text: str | None) -> str:
    """Check an Idempotency-Key; raises IdempotencyKeyMissing."""
    if not text or len(text) > KEY_LENGTH_MAX or not (text.isascii() and text.isprintable()):
        raise IdempotencyKeyMissing(reason="there is none, or it is too long")
    return text


def hash_request(*parts: Any) -> str:  # noqa: ANN401
    """A hash by which the same request is known again."""
    text = json.dumps(parts, sort_keys=True, default=str, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
