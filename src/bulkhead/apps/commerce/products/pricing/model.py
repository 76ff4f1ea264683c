"""Values of a quote."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID

from bulkhead.engine.errors import Conflict, Invalid


class VariantUnknown(Invalid):
    """Some of the products are not for sale: {variant_ids}."""

    code = "variant_unknown"
    hint = "Take these lines out of the order."


class CurrencyMixed(Invalid):
    """The lines of an order must have one currency, these have {currencies}."""

    code = "currency_mixed"


class CartEmpty(Conflict):
    """There is nothing in the cart."""

    code = "cart_empty"
    hint = "Add something with POST /commerce/cart, or name the lines in the request."


@dataclass(frozen=True, slots=True)
class QuotedLine:
    """So many units of a variant at their present price."""

    variant_id: UUID
    product_id: UUID
    sku: str
    title: str
    unit_price: Decimal
    quantity: int

    def to_json(self) -> dict[str, Any]:
        """The form in which it is kept with the order."""
        return {
            "variant_id": str(self.variant_id),
            "product_id": str(self.product_id),
            "sku": self.sku,
            "title": self.title,
            "unit_price": str(self.unit_price),
            "quantity": self.quantity,
        }


@dataclass(frozen=True, slots=True)
class Quote:
    """The lines of an order to be."""

    lines: tuple[QuotedLine, ...]
    currency: str

    @property
    def subtotal(self) -> Decimal:
        """The sum of the lines."""
        return sum((line.unit_price * line.quantity for line in self.lines), Decimal(0))
