"""Questions whose answers stand in more than one database."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from uuid import UUID

from bulkhead.apps.commerce.orders.checkout.model import CheckoutBody, OrderDraft, PriceChanged
from bulkhead.apps.commerce.orders.checkout.service import get_coupon
from bulkhead.apps.commerce.orders.pricing.model import PriceRules, price_order
from bulkhead.apps.commerce.products.pricing.model import Quote
from bulkhead.apps.commerce.products.pricing.service import quote_cart, quote_many
from bulkhead.engine.connections.claims import ANON, SERVICE
from bulkhead.engine.messaging.saga_batch import Batcher

if TYPE_CHECKING:
    from bulkhead.engine.connections.claims import Claims
    from bulkhead.engine.connections.database import OpenDatabase


@dataclass(slots=True, eq=False)
class Quotes:
    """Prices of lines; requests that come at the same time share a query."""

    products: OpenDatabase
    _batcher: Batcher[Mapping[UUID, int], Quote] = field(init=False)

    def __post_init__(self) -> None:
        self._batcher = Batcher(self._quote_many)

    async def of_lines(self, quantities: Mapping[UUID, int]) -> Quote:
        """Price lines as everybody sees them; raises VariantUnknown, CurrencyMixed."""
        return await self._batcher.submit(quantities)

    async def of_cart(self, claims: Claims) -> Quote:
        """Price the customer's cart; raises CartEmpty besides."""
        async with self.products.transaction(claims, read_only=True) as db:
            return await quote_cart(db)

    async def _quote_many(self, wishes: list[Mapping[UUID, int]]) -> list[Quote | BaseException]:
        async with self.products.transaction(ANON, read_only=True) as db:
            return list(await quote_many(db, wishes))


async def draft_order(  # noqa: PLR0913
    orders: OpenDatabase,
    quotes: Quotes,
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
    quote = await (quotes.of_lines(body.quantities()) if body.lines else quotes.of_cart(claims))
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
