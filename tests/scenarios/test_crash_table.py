"""What a crash leaves behind, row by row: who repairs it, and how it ends."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.integration.apps.commerce.shop import checkout_of
from tests.scenarios.books import INVARIANTS, kept, verify_books
from tests.scenarios.market import Market, Order, open_market

from bulkhead.apps.commerce.jobs import free_forgotten_stock
from bulkhead.apps.commerce.orders.checkout.model import HOLD_S
from bulkhead.apps.commerce.products.inventory.model import Hold, Line
from bulkhead.apps.commerce.products.inventory.service import reserve_stock
from bulkhead.engine import failpoints
from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.drivers.protocol import Login
from bulkhead.engine.failpoints import Mode
from bulkhead.engine.monitoring.invariant import run_invariants
from bulkhead.engine.system import build_system
from bulkhead.engine.testing import TestServers, crash_at, drain, expire_leases, restarted

STOCK_ONLY = "saga.place_order.open_order.before"
ORDER_ONLY = "saga.place_order.reserve_stock.before"
BOTH = "saga.place_order.charge.before"
CHARGED = "saga.place_order.charge.after"
OVERDUE = "update stock_reservations set expires_at = 'epoch' where order_id = $1"


async def crashed(market: Market, point: str, **wished: Any) -> Order:
    """An order whose process has died at `point`."""
    order = await market.order(**wished)
    with crash_at(point):
        await market.place(order)
    await market.system.sagas.drain()
    return order


async def reservation(market: Market, order: Order) -> str | None:
    state: str | None = await market.run(
        "products", "select state from stock_reservations where order_id = $1", order.id
    )
    return state


async def test_nothing_was_written_and_the_customer_tries_again(market: Market) -> None:
    order = await market.order()
    assert await market.state(order) is None
    assert await market.told(order) == "confirmed"
    await market.settle_down()
    await verify_books(market)


async def test_an_order_without_stock_is_cancelled(market: Market) -> None:
    order = await crashed(market, ORDER_ONLY)
    assert (await market.state(order), await reservation(market, order)) == ("pending", None)
    async with restarted(market.system) as system:
        after = market.after(system)
        await after.settle_down()
        assert await after.state(order) == "cancelled"
        await verify_books(after)


async def test_an_order_without_stock_goes_on_when_its_customer_is_back_first(
    market: Market,
) -> None:
    order = await crashed(market, ORDER_ONLY)
    async with restarted(market.system) as system:
        assert await market.after(system).told(order) == "confirmed"
        await market.after(system).settle_down()
        await verify_books(market.after(system))


async def test_stock_without_an_order_is_given_back_and_never_held_later(market: Market) -> None:
    order = await crashed(market, STOCK_ONLY)
    assert (await market.state(order), await market.stock(order.variant)) == (None, (5, 2))
    async with restarted(market.system) as system:
        after = market.after(system)
        await after.settle_down()
        assert await after.stock(order.variant) == (5, 0)
        await verify_books(after)
        assert await reservation(after, order) == "released"
        hold = Hold(order.id, (Line(order.variant.id, order.quantity),), HOLD_S)
        async with system.database("products").transaction(SERVICE) as tx:
            [late] = await reserve_stock(tx, [hold])
        assert getattr(late, "code", None) == "reservation_closed"


async def test_stock_without_an_order_is_given_back_even_if_no_worker_looks(
    market: Market,
) -> None:
    order = await crashed(market, STOCK_ONLY)
    assert await free_forgotten_stock(market.system) == 0
    await market.run("products", OVERDUE, order.id)
    assert await free_forgotten_stock(market.system) == 1
    assert await market.stock(order.variant) == (5, 0)
    await market.settle_down()
    await verify_books(market)


async def test_an_order_with_stock_that_was_not_charged_is_cancelled(market: Market) -> None:
    order = await crashed(market, BOTH)
    async with restarted(market.system) as system:
        after = market.after(system)
        await after.settle_down()
        assert await after.state(order) == "cancelled"
        assert await after.stock(order.variant) == (5, 0)
        await verify_books(after)


async def test_an_order_that_was_charged_is_confirmed(market: Market) -> None:
    order = await crashed(market, CHARGED)
    async with restarted(market.system) as system:
        after = market.after(system)
        await after.settle_down()
        assert await after.state(order) == "confirmed"
        assert await after.stock(order.variant) == (3, 0)
        await verify_books(after)


async def test_a_charge_without_an_answer_is_found_by_its_key(market: Market) -> None:
    order = await crashed(market, "saga.place_order.settle.before", source="tok_timeout")
    async with restarted(market.system) as system:
        after = market.after(system)
        await after.settle_down()
        assert await after.state(order) == "confirmed"
        await verify_books(after)


async def test_stock_is_never_given_back_while_nobody_knows_about_the_charge(
    market: Market,
) -> None:
    order = await crashed(market, CHARGED)
    await market.run("products", OVERDUE, order.id)
    assert await free_forgotten_stock(market.system) == 0
    async with restarted(market.system) as system:
        after = market.after(system)
        await after.settle_down()
        assert (await after.state(order), await after.stock(order.variant)) == ("confirmed", (3, 0))
        await verify_books(after)


async def test_a_confirmed_order_is_told_to_the_others_after_a_crash(market: Market) -> None:
    order = await crashed(market, "saga.place_order.settle.after")
    assert (await market.state(order), await market.stock(order.variant)) == ("confirmed", (5, 2))
    async with restarted(market.system) as system:
        after = market.after(system)
        await after.settle_down()
        assert await after.stock(order.variant) == (3, 0)
        await verify_books(after)


@pytest.mark.parametrize("times", range(4))
async def test_what_was_applied_but_not_acknowledged_is_skipped(market: Market, times: int) -> None:
    order = await market.order()
    await market.place(order)
    with crash_at("relay.delivered", after=min(times, 1)):
        await drain(market.system)
    async with restarted(market.system) as system:
        after = market.after(system)
        await after.settle_down()
        assert await after.stock(order.variant) == (3, 0)
        await verify_books(after)


async def test_a_process_taken_for_dead_charges_nothing_any_more(market: Market) -> None:
    order = await market.order()
    async with taken_for_dead(market, order, BOTH) as after:
        await after.settle_down()
        assert await after.state(order) == "cancelled"
    assert str(order.id) not in kept(market)
    await market.settle_down()
    await verify_books(market)


async def test_a_process_taken_for_dead_after_it_charged_ends_as_the_next_one_does(
    market: Market,
) -> None:
    order = await market.order()
    async with taken_for_dead(market, order, CHARGED) as after:
        await after.settle_down()
        assert await after.state(order) == "confirmed"
    await market.settle_down()
    await verify_books(market)


async def test_a_charge_that_arrives_after_its_order_was_cancelled_goes_back(
    market: Market,
) -> None:
    order = await market.order()
    async with taken_for_dead(market, order, BOTH):
        await checkout_of(market.system).cancel(order.claims, order.id, "changed my mind")
    await market.run("orders", "update refunds set created_at = 'epoch'")
    await market.settle_down()
    assert str(order.id) not in kept(market)
    assert await market.told(order) == "cancelled"
    await verify_books(market)


@asynccontextmanager
async def taken_for_dead(market: Market, order: Order, point: str) -> AsyncIterator[Market]:
    """The next process, while the one that places the order hangs at `point`; it goes on later."""
    there = asyncio.Event()
    failpoints.observe(lambda name: there.set() if name == point else None)
    failpoints.arm(point, Mode.STALL)
    zombie = asyncio.create_task(market.told(order))
    await there.wait()
    failpoints.observe(None)
    await expire_leases(market.system)
    after = build_system(
        market.system.application, market.system.settings, market.system.router.placements
    )
    try:
        yield Market(after)
    finally:
        failpoints.disarm(point)
        await zombie
        await after.close()


async def test_orders_restored_from_an_older_backup_than_the_stock_are_noticed(
    servers: TestServers, tmp_path: Path
) -> None:
    async with open_market(servers, tmp_path) as market:
        order = await market.order()
        await market.place(order)
        await market.settle_down()
        placement = next(p for p in market.system.router.placements if p.database == "orders")
        admin = await placement.driver.connect(placement.spec, Login.ADMIN, timeout_s=5)
        await admin.execute(
            "set session_replication_role = replica;delete from orders; delete from bulkhead.events"
        )
        await admin.close()
        report = await run_invariants(market.system.router, INVARIANTS)
        assert {"I19", "I22"} <= {result.invariant.code for result in report.broken}
