"""Values of a cart: what requests about it may say, and why they are refused."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from bulkhead.engine.errors import Conflict, NotFound

QUANTITY_MAX = 999
"""Units of one variant in a cart; the migration has the same number."""
LINES_MAX = 100
"""Variants in a cart."""

Quantity = Annotated[int, Field(ge=1, le=QUANTITY_MAX, strict=True)]


class VariantNotForSale(NotFound):
    """There is no variant {variant_id} for sale."""

    code = "variant_not_for_sale"


class CartLineUnknown(NotFound):
    """Variant {variant_id} is not in your cart."""

    code = "cart_line_unknown"


class CartQuantityExceeded(Conflict):
    """A cart holds at most {quantity_max} units of a variant."""

    code = "cart_quantity_exceeded"


class CartFull(Conflict):
    """A cart holds at most {lines_max} variants."""

    code = "cart_full"
    hint = "Order what is in the cart, or take something out of it."


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class LineBody(_Body):
    """So many units of a variant."""

    variant_id: UUID
    quantity: Quantity = 1


class QuantityBody(_Body):
    """How many units are wanted."""

    quantity: Quantity


class MergeBody(_Body):
    """What a visitor had put into the cart before signing in."""

    lines: Annotated[list[LineBody], Field(max_length=LINES_MAX)]

    def quantities(self) -> dict[UUID, int]:
        """The quantity of each variant, as much as a cart holds."""
        totals: dict[UUID, int] = {}
        for line in self.lines:
            total = totals.get(line.variant_id, 0) + line.quantity
            totals[line.variant_id] = min(total, QUANTITY_MAX)
        return totals
