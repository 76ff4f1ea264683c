"""The pure rules of what an order costs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import ROUND_HALF_UP, Decimal
from uuid import UUID

from bulkhead.engine.errors import Invalid

CENT = Decimal("0.01")


class ShippingUnknown(Invalid):
    """There is no way of shipping '{method}'."""

    code = "shipping_unknown"
    hint = "Choose one of: {methods}."


class CouponRefused(Invalid):
    """The coupon '{coupon_code}' cannot be used: {reason}."""

    code = "coupon_refused"


COUPON_REASONS = {
    "coupon_invalid": "it does not exist, is not valid now, or not for this order",
    "coupon_used": "you have used it before",
    "coupon_exhausted": "all of them have been used",
}


@dataclass(frozen=True, slots=True)
class ShippingRate:
    """What a way of shipping costs, and from which subtotal on it is free."""

    price: Decimal
    free_from: Decimal | None = None


@dataclass(frozen=True, slots=True)
class PriceRules:
    """How a store charges for shipping and tax; prices in the catalogue are before tax."""

    shipping: Mapping[str, ShippingRate] = field(
        default_factory=lambda: {
            "standard": ShippingRate(Decimal("4.90"), free_from=Decimal(50)),
            "express": ShippingRate(Decimal("14.90")),
            "pickup": ShippingRate(Decimal(0)),
        }
    )
    tax_rates: Mapping[str, Decimal] = field(default_factory=dict)
    """By country of delivery, as a fraction: `{"DE": Decimal("0.19")}`."""


@dataclass(frozen=True, slots=True)
class Coupon:
    """A coupon as it is when the order is priced."""

    id: UUID
    code: str
    kind: str
    value: Decimal
    min_total: Decimal
    max_discount: Decimal | None
    currency: str | None


@dataclass(frozen=True, slots=True)
class Price:
    """What an order costs: total = items - discount + tax + shipping, in whole cents."""

    items: Decimal
    discount: Decimal
    tax: Decimal
    shipping: Decimal

    @property
    def total(self) -> Decimal:
        """What is charged."""
        return self.items - self.discount + self.tax + self.shipping


def price_order(
    rules: PriceRules, items: Decimal, method: str, country: str, coupon: Coupon | None = None
) -> Price:
    """Price an order; tax is on what is paid for the goods and for shipping them.

    Raises ShippingUnknown, CouponRefused.
    """
    rate = rules.shipping.get(method)
    if rate is None:
        raise ShippingUnknown(method=method, methods=", ".join(sorted(rules.shipping)))
    free = rate.free_from is not None and items >= rate.free_from
    shipping = Decimal(0) if free else rate.price
    if coupon is not None and coupon.kind == "free_shipping":
        shipping = Decimal(0)
    discount = discount_of(coupon, items) if coupon is not None else Decimal(0)
    tax = round_cents((items - discount + shipping) * rules.tax_rates.get(country, Decimal(0)))
    return Price(items, discount, tax, shipping)


def discount_of(coupon: Coupon, items: Decimal) -> Decimal:
    """What a coupon takes off the items: never more than they cost; raises CouponRefused."""
    if items < coupon.min_total:
        raise CouponRefused(
            coupon_code=coupon.code, reason=f"the order must come to {coupon.min_total} at least"
        )
    match coupon.kind:
        case "percent":
            discount = round_cents(items * coupon.value / 100)
        case "amount":
            discount = coupon.value
        case _:
            discount = Decimal(0)
    if coupon.max_discount is not None:
        discount = min(discount, coupon.max_discount)
    return min(discount, items)


def round_cents(amount: Decimal) -> Decimal:
    """Round to whole cents, half up."""
    return amount.quantize(CENT, ROUND_HALF_UP)
