"""A shop in which anything may go wrong, its customers, and its payment company next door."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
from tests.integration.apps.commerce.shop import Variant, add_user, add_variant, checkout_of, wish

from bulkhead.apps.commerce.application import APPLICATION, Outside, connect_outside
from bulkhead.apps.commerce.jobs import (
    carry_out_refunds,
    end_unpaid_orders,
    free_forgotten_stock,
)
from bulkhead.apps.commerce.products.cart.service import add_to_cart, clear_cart
from bulkhead.capabilities.payments.local import LocalProvider
from bulkhead.engine.clock import now
from bulkhead.engine.connections.claims import SERVICE, Claims
from bulkhead.engine.errors import BulkheadError
from bulkhead.engine.ids import derive_id
from bulkhead.engine.settings import Settings
from bulkhead.engine.system import System
from bulkhead.engine.testing import TestServers, drain, pass_deadlines
from bulkhead.web.compose import compose

STALL_S = 0.02
STOCK = 5
SETTINGS = Settings(statement_timeout_s=5.0)


def connect_nearby(settings: Settings) -> Outside:
    """The payment company without its patience: who gets no answer does not wait for seconds."""
    outside = connect_outside(settings)
    provider = outside.payments
    assert isinstance(provider, LocalProvider)
    provider.stall_s = STALL_S
    return outside


SHOP = replace(APPLICATION, outside=connect_nearby)


@dataclass(frozen=True)
class Market:
    """A shop, as one process sees it."""

    system: System

    def after(self, system: System) -> Market:
        """The same shop as the next process sees it."""
        return Market(system)

    @property
    def provider(self) -> LocalProvider:
        provider = self.system.outside.payments
        assert isinstance(provider, LocalProvider)
        return provider

    async def customer(self) -> Claims:
        return await add_user(self.system)

    async def variant(self, *, stock: int = STOCK, price: str = "10.00") -> Variant:
        return await add_variant(self.system, stock=stock, price=price)

    async def order(self, *, source: str = "tok_visa", **wished: Any) -> Order:
        """Somebody who is about to order something that nobody else orders."""
        return Order(await self.customer(), await self.variant(), source, wished)

    async def place(self, order: Order) -> dict[str, Any]:
        """Place the order; raises what the customer would be told."""
        lines = () if order.from_cart else ((order.variant, order.quantity),)
        wanted = wish(*lines, source=order.source, **order.wished)
        return await checkout_of(self.system).place(order.claims, order.key, wanted)

    async def told(self, order: Order) -> str:
        """What the customer is told: the state of the order, or the code of a refusal."""
        try:
            placed = await self.place(order)
        except BulkheadError as error:
            return error.code
        return str(placed["state"])

    async def fill_cart(self, order: Order, quantity: int) -> None:
        """Let the customer's cart hold so many units of what the order is about."""
        async with self.system.database("products").transaction(order.claims) as tx:
            await clear_cart(tx)
            await add_to_cart(tx, order.variant.id, quantity)

    async def do_jobs(self) -> None:
        """What is done again and again while a process lives."""
        await end_unpaid_orders(self.system)
        await free_forgotten_stock(self.system)
        await carry_out_refunds(self.system)

    async def settle_down(self) -> None:
        """Let a process do all that it does by itself, until long after every deadline."""
        await drain(self.system)
        await self.grow_old()

    async def grow_old(self) -> None:
        """Let every deadline pass, and the process do what it does then."""
        await pass_deadlines(self.system)
        await self.do_jobs()
        await drain(self.system)

    def settle_charges(self) -> None:
        """Let the payment company decide about every pending charge, and tell nobody."""
        self.provider._ledger.settle_pending(now(), due_s=float("inf"))

    async def run(self, database: str, sql: str, *args: object) -> Any:
        async with self.system.database(database).transaction(SERVICE) as tx:
            return await tx.fetchval(sql, *args)

    async def state(self, order: Order) -> str | None:
        state: str | None = await self.run(
            "orders", "select state from orders where id = $1", order.id
        )
        return state

    async def stock(self, variant: Variant) -> tuple[int, int]:
        """How many are there, and how many of them are promised."""
        async with self.system.database("products").transaction(SERVICE) as tx:
            row = await tx.fetchrow(
                "select on_hand, reserved from stock where variant_id = $1", variant.id
            )
        assert row is not None, "every variant has its stock"
        return row["on_hand"], row["reserved"]


@dataclass(frozen=True)
class Order:
    """What a customer wants, and the key under which it is asked for."""

    claims: Claims
    variant: Variant
    source: str
    wished: Mapping[str, Any]
    key: str = "key"
    quantity: int = 2
    from_cart: bool = False
    """Whether it is whatever stands in the customer's cart."""

    @property
    def id(self) -> UUID:
        return derive_id("commerce.order", self.claims.subject, self.key)

    @property
    def total(self) -> Decimal:
        return self.variant.price * self.quantity


@asynccontextmanager
async def open_market(
    servers: TestServers, home: Path, *, apart: bool = False, **settings: Any
) -> AsyncIterator[Market]:
    async with servers.system(SHOP, replace(SETTINGS, home=home, **settings), apart=apart) as shop:
        yield Market(shop)


@asynccontextmanager
async def website(system: System) -> AsyncIterator[httpx.AsyncClient]:
    """The shop over HTTP, and the payment company's webhooks delivered to it."""
    app = compose([system], system.settings).app
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://shop.test") as http:
        provider = system.outside.payments

        async def send(_: str, headers: Mapping[str, str], body: bytes) -> int:
            answer = await http.post(
                "/commerce/webhooks/payments", headers=dict(headers), content=body
            )
            return answer.status_code

        provider._deliverer.send = send
        yield http
