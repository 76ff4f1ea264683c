"""A small shop to try checkouts on: a few variants with stock, and customers who buy."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID

from bulkhead.apps.commerce.application import Outside
from bulkhead.apps.commerce.orders.checkout.model import AddressBody, CheckoutBody, LineBody
from bulkhead.apps.commerce.routes import Checkout
from bulkhead.capabilities.payments.local import LocalProvider
from bulkhead.engine.connections.claims import SERVICE, Claims, user
from bulkhead.engine.ids import new_id
from bulkhead.engine.system import System

CHARGED = "select amount from charges where state = 'succeeded'"
ADDRESS = AddressBody(name="Ada", line1="1 Row", city="London", postal_code="N1", country="GB")


@dataclass(frozen=True)
class Variant:
    id: UUID
    product_id: UUID
    price: Decimal


async def add_user(system: System) -> Claims:
    """A customer, as signing up leaves one behind."""
    user_id = new_id()
    async with system.database("users").transaction(SERVICE) as tx:
        await tx.execute(
            "insert into auth.users (id, aud, role, email, raw_app_meta_data, raw_user_meta_data)"
            " values ($1, 'authenticated', 'authenticated', $2, '{}', '{}')",
            user_id,
            f"{user_id.hex}@example.com",
        )
    return user(user_id, email=f"{user_id.hex}@example.com")


async def add_variant(system: System, *, stock: int, price: str = "10.00") -> Variant:
    """A product for sale with one variant of which there are `stock`."""
    product_id, variant_id = new_id(), new_id()
    async with system.database("products").transaction(SERVICE) as tx:
        await tx.execute(
            "insert into products (id, slug, title, published_at, state)"
            " values ($1, $2, $3, now(), 'published')",
            product_id,
            f"thing-{product_id.hex}",
            f"Thing {product_id.hex[-4:]}",
        )
        await tx.execute(
            "insert into product_variants (id, product_id, sku, price, currency)"
            " values ($1, $2, $3, $4, 'GBP')",
            variant_id,
            product_id,
            f"SKU-{variant_id.hex[-12:]}",
            Decimal(price),
        )
        await tx.fetch(
            "select applied from private.adjust_stock(jsonb_build_array(jsonb_build_object("
            "'movement_id', $1::uuid, 'variant_id', $2::uuid, 'delta', $3::int,"
            " 'reason', 'receipt')))",
            new_id(),
            variant_id,
            stock,
        )
    return Variant(variant_id, product_id, Decimal(price))


def checkout_of(system: System) -> Checkout:
    """The requests of customers, without HTTP around them, who wait as long as it takes."""
    outside: Outside = system.outside
    return Checkout(
        system.database("orders"),
        system.database("products"),
        system.sagas,
        outside.payments,
        outside.rules,
        answer_s=60.0,
        read_s=60.0,
    )


def wish(*lines: tuple[Variant, int], source: str = "tok_visa", **more: Any) -> CheckoutBody:
    """What a customer sends."""
    return CheckoutBody(
        lines=[LineBody(variant_id=each.id, quantity=quantity) for each, quantity in lines] or None,
        shipping_address=ADDRESS,
        shipping_method="pickup",
        payment_source=source,
        **more,
    )


async def stock_of(system: System, variant: Variant) -> tuple[int, int]:
    """How many are there, and how many of them are promised."""
    async with system.database("products").transaction(SERVICE) as tx:
        row = await tx.fetchrow(
            "select on_hand, reserved from stock where variant_id = $1", variant.id
        )
    assert row is not None
    return row["on_hand"], row["reserved"]


async def states_of(system: System) -> list[str]:
    """The states of all orders."""
    async with system.database("orders").transaction(SERVICE) as tx:
        return [row["state"] for row in await tx.fetch("select state from orders order by id")]


def charged(system: System) -> Decimal:
    """What the payment company has kept of everything it charged."""
    provider = system.outside.payments
    assert isinstance(provider, LocalProvider)
    books = sqlite3.connect(provider.path)
    try:
        kept = sum(Decimal(a) for (a,) in books.execute(CHARGED)) - sum(
            Decimal(a) for (a,) in books.execute("select amount from refunds")
        )
    finally:
        books.close()
    return Decimal(kept)
