"""What an order costs, and how it moves on."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from typing import Annotated, Any, Final, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from bulkhead.engine.errors import BulkheadError, Conflict
from bulkhead.http.texts import Shown, ShownLine

LINES_MAX: Final = 200
CENT: Final = Decimal("0.01")
ZERO: Final = Decimal(0)
EDGES: Final[Mapping[str, frozenset[str]]] = {
    "pending": frozenset({"confirmed", "cancelled"}),
    "confirmed": frozenset({"shipped", "cancelled", "refunded"}),
    "shipped": frozenset({"delivered", "refunded"}),
    "delivered": frozenset({"refunded"}),
    "cancelled": frozenset(),
    "refunded": frozenset(),
}
"""How an order may move on."""

Amount = Annotated[Decimal, Field(ge=0, max_digits=12, decimal_places=2, allow_inf_nan=False)]


class LineBody(BaseModel):
    """So many of a product."""

    model_config = ConfigDict(extra="forbid")
    product_id: UUID
    quantity: Annotated[int, Field(ge=1, le=100_000, strict=True)]


class OrderBody(BaseModel):
    """What a customer orders."""

    model_config = ConfigDict(extra="forbid")
    email: Annotated[str, Field(max_length=320, pattern=r"^[^@\s\x00]+@[^@\s\x00]+$")]
    name: Annotated[str, Field(max_length=200), ShownLine] = ""
    lines: Annotated[list[LineBody], Field(min_length=1, max_length=LINES_MAX)]
    shipping_address: Annotated[
        dict[
            Annotated[str, Field(max_length=60), ShownLine],
            Annotated[str, Field(max_length=500), Shown],
        ],
        Field(max_length=40),
    ] = {}
    discount_code: Annotated[str, Field(max_length=60)] | None = None
    tax_total: Amount = ZERO
    shipping_total: Amount = ZERO
    note: Annotated[str, Field(max_length=2000), Shown] | None = None

    @property
    def hash(self) -> str:
        """By which the same request is known again, however it was written down."""
        said = self.model_dump(mode="json", exclude_defaults=True)
        text = json.dumps(said, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def quantities(self) -> dict[UUID, int]:
        """How many of each product, in one order, so that orders never wait in a circle."""
        wanted: dict[UUID, int] = {}
        for line in sorted(self.lines, key=lambda line: str(line.product_id)):
            wanted[line.product_id] = wanted.get(line.product_id, 0) + line.quantity
        return wanted


class StateBody(BaseModel):
    """How an order moves on."""

    model_config = ConfigDict(extra="forbid")
    state: Literal["confirmed", "shipped", "delivered", "cancelled", "refunded"]


class ProductUnsellable(BulkheadError):
    """Product {product} cannot be ordered: {reason}."""

    code = "product_unsellable"
    status = 422


class DiscountRefused(BulkheadError):
    """The discount code cannot be used: {reason}."""

    code = "discount_refused"
    status = 422


class OrderStuck(Conflict):
    """The order is {state} and cannot become {wanted}."""

    code = "order_stuck"


@dataclass(frozen=True, slots=True)
class Line:
    """A line of an order as it is written."""

    product: UUID
    sku: str
    name: str
    unit_price: Decimal
    quantity: int

    @property
    def total(self) -> Decimal:
        """What the line costs."""
        return self.unit_price * self.quantity


@dataclass(frozen=True, slots=True)
class Totals:
    """What an order costs."""

    items: Decimal
    discount: Decimal
    tax: Decimal
    shipping: Decimal

    @property
    def total(self) -> Decimal:
        """What is paid."""
        return self.items - self.discount + self.tax + self.shipping


def choose_price(
    prices: Iterable[Mapping[str, Any]], quantity: int, now: dt.datetime
) -> Decimal | None:
    """The price of a product for so many of it; None when there is none at the moment."""
    fitting = [
        price
        for price in prices
        if price["min_quantity"] <= quantity
        and price["valid_from"] <= now
        and (price["valid_until"] is None or now < price["valid_until"])
    ]
    if not fitting:
        return None
    best = max(fitting, key=lambda price: (price["min_quantity"], price["valid_from"]))
    return Decimal(best["amount"])


def add_up(lines: Sequence[Line], body: OrderBody, discount: Mapping[str, Any] | None) -> Totals:
    """What an order costs; a discount never takes off more than its items cost."""
    items = sum((line.total for line in lines), ZERO)
    shipping, taken = body.shipping_total, ZERO
    if discount is not None:
        match discount["kind"]:
            case "percent":
                taken = (items * Decimal(discount["percent"]) / 100).quantize(CENT, ROUND_HALF_UP)
            case "amount":
                taken = Decimal(discount["amount"])
            case _:
                shipping = ZERO
    return Totals(items, min(taken, items), body.tax_total, shipping)


def check_discount(
    discount: Mapping[str, Any] | None, items: Decimal, currency: str, now: dt.datetime
) -> None:
    """Pass for a discount that may be used; raises DiscountRefused."""
    if discount is None or not discount["is_active"]:
        raise DiscountRefused(reason="there is no such code")
    if discount["starts_at"] is not None and now < discount["starts_at"]:
        raise DiscountRefused(reason="it is not valid yet")
    if discount["ends_at"] is not None and now >= discount["ends_at"]:
        raise DiscountRefused(reason="it is no longer valid")
    if discount["kind"] == "amount" and discount["currency"] != currency:
        raise DiscountRefused(reason="it is in another currency")
    if discount["min_total"] is not None and items < Decimal(discount["min_total"]):
        raise DiscountRefused(reason="the order is too small for it")
