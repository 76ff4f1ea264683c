"""Orders that nobody pays for in time, and those that somebody pays for just then."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any, cast
from uuid import UUID

import pytest
from tests.integration.apps.commerce.shop import (
    add_user,
    add_variant,
    checkout_of,
    states_of,
    stock_of,
    wish,
)

from bulkhead.apps.commerce.application import APPLICATION
from bulkhead.apps.commerce.jobs import BATCH_MAX, end_unpaid_orders
from bulkhead.apps.commerce.orders.checkout.service import expire_orders, start_attempts
from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.connections.transaction import Transaction
from bulkhead.engine.settings import Settings
from bulkhead.engine.system import System
from bulkhead.engine.testing import TestServers, drain

LET_EXPIRE = "update orders set deadline_at = clock_timestamp() where id = $1"


class Overtaken:
    """A transaction, after whose first statement something else happens."""

    def __init__(self, tx: Transaction, happen: Callable[[], Awaitable[object]]) -> None:
        self._tx, self._happen = tx, happen
        self.statements = 0

    async def fetch(self, sql: str, *args: object) -> Any:
        rows = await self._tx.fetch(sql, *args)
        self.statements += 1
        if self.statements == 1:
            await self._happen()
        return rows

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tx, name)


@pytest.fixture
async def shop(
    servers: TestServers, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[System]:
    settings = Settings(home=tmp_path_factory.mktemp("home"))
    async with servers.system(APPLICATION, settings) as system:
        yield system


async def declined_order(shop: System) -> UUID:
    """An order whose first card was declined."""
    claims, variant = await add_user(shop), await add_variant(shop, stock=5)
    body = wish((variant, 1), source="tok_chargeDeclined")
    return UUID((await checkout_of(shop).place(claims, "key", body))["order_id"])


async def test_an_order_that_nobody_paid_for_ends_and_gives_its_stock_back(shop: System) -> None:
    claims, variant = await add_user(shop), await add_variant(shop, stock=5)
    body = wish((variant, 1), source="tok_chargeDeclined")
    placed = await checkout_of(shop).place(claims, "key", body)
    assert await end_unpaid_orders(shop) == 0
    async with shop.database("orders").transaction(SERVICE) as tx:
        await tx.execute(LET_EXPIRE, UUID(placed["order_id"]))
    assert await end_unpaid_orders(shop) == 1
    await drain(shop)
    assert await states_of(shop) == ["cancelled"]
    assert await stock_of(shop, variant) == (5, 0)


async def test_an_order_that_is_paid_for_at_the_last_moment_goes_on(shop: System) -> None:
    """The payment begins before the deadline and is written after the orders were looked for."""
    order, orders = await declined_order(shop), shop.database("orders")
    async with AsyncExitStack() as paying:
        customer = await paying.enter_async_context(orders.transaction(SERVICE))
        await customer.execute("select")
        async with orders.transaction(SERVICE) as tx:
            await tx.execute(LET_EXPIRE, order)
        [begun] = await start_attempts(customer, [{"order_id": str(order), "provider": "local"}])
        assert isinstance(begun, dict)
        async with orders.transaction(SERVICE) as tx:
            overtaken = Overtaken(tx, paying.aclose)
            assert await expire_orders(cast("Transaction", overtaken), BATCH_MAX) == 0
    assert overtaken.statements
    assert await end_unpaid_orders(shop) == 0
    assert await states_of(shop) == ["pending"]


async def test_an_order_is_not_paid_for_any_more_when_it_is_about_to_end(shop: System) -> None:
    order, orders = await declined_order(shop), shop.database("orders")
    lock = "select id from orders where id = $1 for no key update skip locked"
    async with orders.transaction(SERVICE) as tx:
        await tx.execute(LET_EXPIRE, order)

    async def is_locked() -> None:
        async with orders.transaction(SERVICE) as customer:
            assert await customer.fetchval(lock, order) is None

    async with orders.transaction(SERVICE) as tx:
        overtaken = Overtaken(tx, is_locked)
        assert await expire_orders(cast("Transaction", overtaken), BATCH_MAX) == 1
