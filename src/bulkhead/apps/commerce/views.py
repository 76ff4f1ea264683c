"""Questions whose answers stand in more than one database."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from bulkhead.apps.commerce.orders.checkout.model import CheckoutBody, OrderDraft, PriceChanged
from bulkhead.apps.commerce.orders.checkout.service import get_coupon
from bulkhead.apps.commerce.orders.pricing.model import PriceRules, price_order
from bulkhead.apps.commerce.products.pricing.service import quote_cart, quote_lines
from bulkhead.engine.connections.claims import SERVICE

if TYPE_CHECKING:
    from bulkhead.engine.connections.claims import Claims
    from bulkhead.engine.connections.database import OpenDatabase


async def draft_order(  # noqa: PLR0913
    orders: OpenDatabase,
    products: OpenDatabase,
    rules: PriceRules,
    claims: Claims,
    order_id: UUID,
    body: CheckoutBody,
    *,
    request_hash: str,
    provider: str,
) -> OrderDraft:
    """Price what a customer wants to order, before anything is written.

    Raises VariantUnknown, CartEmpty, CouponRefused, ShippingUnknown, and PriceChanged when the
    customer expects another total.
    """
    async with products.transaction(claims, read_only=True) as db:
        quote = await (quote_lines(db, body.quantities()) if body.lines else quote_cart(db))
    coupon = None
    if body.coupon_code is not None:
        async with orders.transaction(SERVICE, read_only=True) as db:
            coupon = await get_coupon(db, body.coupon_code, quote.currency)
    address = body.shipping_address
    price = price_order(rules, quote.subtotal, body.shipping_method, address.country, coupon)
    if body.expected_total is not None and body.expected_total != price.total:
        raise PriceChanged(
            total=str(price.total),
            currency=quote.currency,
            expected_total=str(body.expected_total),
        )
    user_id, email = claims.subject, claims.payload.get("email")
    assert user_id is not None, "only signed-in customers order"
    return OrderDraft(
        order_id=order_id,
        user_id=user_id,
        email=email if isinstance(email, str) else None,
        currency=quote.currency,
        price=price,
        items=[line.to_json() for line in quote.lines],
        shipping_address=address.model_dump(exclude_none=True),
        shipping_method=body.shipping_method,
        coupon=coupon,
        request_hash=request_hash,
        provider=provider,
        note=body.note,
    )
