"""Use cases of a cart; all but the last act on the cart of the user whose claims `tx` carries."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING
from uuid import UUID

from bulkhead.apps.commerce.products.cart.model import (
    LINES_MAX,
    QUANTITY_MAX,
    CartFull,
    CartLineUnknown,
    CartQuantityExceeded,
    VariantNotForSale,
)
from bulkhead.engine.connections.queries import load_queries
from bulkhead.engine.drivers.errors import CheckViolated

if TYPE_CHECKING:
    from bulkhead.engine.connections.transaction import Transaction

QUERIES = load_queries(__package__)
UNBOUNDED = 2**31 - 1


async def get_cart(db: Transaction) -> str:
    """The cart as JSON.

    Each line has `notices` of what the customer should know: `price_changed` since it was put
    there, `short_stock`, `sold_out`, `not_for_sale`. `totals` are at present prices.
    """
    body: str = await db.fetchval(QUERIES.get_cart)
    return body


async def add_to_cart(tx: Transaction, variant_id: UUID, quantity: int) -> None:
    """Put more units of a variant into the cart.

    Raises VariantNotForSale, CartQuantityExceeded, CartFull.
    """
    try:
        added = await tx.fetch(QUERIES.add_to_cart, [variant_id], [quantity], UNBOUNDED)
    except CheckViolated as error:
        raise CartQuantityExceeded(quantity_max=QUANTITY_MAX) from error
    if not added:
        raise VariantNotForSale(variant_id=variant_id)
    await _verify_room(tx)


async def merge_lines(tx: Transaction, quantities: Mapping[UUID, int]) -> None:
    """Add what a visitor had chosen before signing in, as far as it is for sale and fits.

    Raises CartFull.
    """
    wanted = list(quantities.items())
    variants, amounts = [variant for variant, _ in wanted], [amount for _, amount in wanted]
    await tx.fetch(QUERIES.add_to_cart, variants, amounts, QUANTITY_MAX)
    await _verify_room(tx)


async def set_quantity(tx: Transaction, variant_id: UUID, quantity: int) -> None:
    """Change how many units are wanted, at the present price; raises CartLineUnknown."""
    if await tx.fetchval(QUERIES.set_quantity, variant_id, quantity) is None:
        raise CartLineUnknown(variant_id=variant_id)


async def accept_prices(tx: Transaction) -> None:
    """Note that the customer has seen the present prices."""
    await tx.execute(QUERIES.accept_prices)


async def remove_line(tx: Transaction, variant_id: UUID) -> None:
    """Take a variant out of the cart; raises CartLineUnknown."""
    if await tx.fetchval(QUERIES.remove_line, variant_id) is None:
        raise CartLineUnknown(variant_id=variant_id)


async def clear_cart(tx: Transaction) -> None:
    """Take everything out of the cart."""
    await tx.execute(QUERIES.clear_cart)


async def merge_guest_cart(tx: Transaction, guest_id: UUID, user_id: UUID) -> int:
    """Move the cart of a guest with an id of their own into a user's; return how many lines moved.

    Needs a service transaction. Repeatable: the guest's cart is empty afterwards.
    """
    moved: int = await tx.fetchval(QUERIES.merge_cart, guest_id, user_id)
    return moved


async def _verify_room(tx: Transaction) -> None:
    if await tx.fetchval(QUERIES.count_lines) > LINES_MAX:
        raise CartFull(lines_max=LINES_MAX)
