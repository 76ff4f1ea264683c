"""`/cart`: a customer's own cart; every change answers with the cart as it is then."""

from collections.abc import Awaitable, Callable
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Response

from bulkhead.apps.commerce.products.cart.model import LineBody, MergeBody, QuantityBody
from bulkhead.apps.commerce.products.cart.service import (
    accept_prices,
    add_to_cart,
    clear_cart,
    get_cart,
    merge_lines,
    remove_line,
    set_quantity,
)
from bulkhead.apps.commerce.products.catalogue.routes import json_response
from bulkhead.engine.connections.claims import Claims
from bulkhead.engine.connections.database import OpenDatabase
from bulkhead.engine.connections.transaction import Transaction


def routes(products: OpenDatabase, signed_in: Callable[..., Awaitable[Claims]]) -> APIRouter:
    """The routes of the cart over the database `products`."""
    router = APIRouter(prefix="/cart", tags=["cart"])
    user = Annotated[Claims, Depends(signed_in)]

    async def changed(claims: Claims, change: Callable[[Transaction], Awaitable[None]]) -> Response:
        async with products.transaction(claims) as tx:
            await change(tx)
            cart = await get_cart(tx)
        return json_response(cart)

    @router.get("")
    async def show_cart(claims: user) -> Response:
        """Show your cart with present prices, stock and what has changed."""
        async with products.transaction(claims, read_only=True) as db:
            cart = await get_cart(db)
        return json_response(cart)

    @router.post("")
    async def add_line(body: LineBody, claims: user) -> Response:
        """Put units of a variant into your cart."""
        return await changed(claims, lambda tx: add_to_cart(tx, body.variant_id, body.quantity))

    @router.post("/merge")
    async def merge_visitor_lines(body: MergeBody, claims: user) -> Response:
        """Add what you had chosen before you signed in; what is no longer for sale is left out."""
        return await changed(claims, lambda tx: merge_lines(tx, body.quantities()))

    @router.post("/accept-prices")
    async def accept_present_prices(claims: user) -> Response:
        """Note that you have seen the present prices."""
        return await changed(claims, accept_prices)

    @router.patch("/{variant_id}")
    async def change_quantity(variant_id: UUID, body: QuantityBody, claims: user) -> Response:
        """Change how many units of a variant you want."""
        return await changed(claims, lambda tx: set_quantity(tx, variant_id, body.quantity))

    @router.delete("/{variant_id}")
    async def remove_variant(variant_id: UUID, claims: user) -> Response:
        """Take a variant out of your cart."""
        return await changed(claims, lambda tx: remove_line(tx, variant_id))

    @router.delete("")
    async def empty_cart(claims: user) -> Response:
        """Take everything out of your cart."""
        return await changed(claims, clear_cart)

    return router
