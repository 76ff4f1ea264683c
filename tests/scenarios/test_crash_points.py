"""A process that dies at any point of a checkout leaves nothing half done and nothing done twice.

Each point is tried in one of the placements, in both with more effort (`effort.py`), and once more
with a customer who tries again before any worker does. `test_killed_process` does the same to real
processes.
"""

from uuid import UUID

import pytest
from tests.integration.apps.commerce.shop import checkout_of
from tests.scenarios.books import facts, kept, verify_books
from tests.scenarios.market import Market, Order, website
from tests.scenarios.points import (
    PAYING,
    PLACING,
    POINTS,
    REFUNDING,
    RELAYING,
    TELLING,
    UNPAYING,
    UNPLACING,
)

from bulkhead.apps.commerce.orders.checkout.model import PaymentBody
from bulkhead.engine.errors import BulkheadError
from bulkhead.engine.system import System
from bulkhead.engine.testing import crash_at, drain, restarted

FIRST = "saga.place_order.open_order.before"
CHARGED = {
    "saga.place_order.charge.after",
    "saga.place_order.settle.before",
    "saga.place_order.settle.after",
    "saga.pay_order.charge.after",
    "saga.pay_order.settle.before",
    "saga.pay_order.settle.after",
}


def test_every_registered_point_is_tried() -> None:
    tried = [*PLACING, *UNPLACING, *PAYING, *UNPAYING, *REFUNDING, *RELAYING, *TELLING]
    assert sorted(tried) == POINTS
    assert len(POINTS) == 43


async def recovered(market: Market, system: System) -> Market:
    """The shop after the next process has done its work, and once more to see nothing change."""
    after = market.after(system)
    await after.settle_down()
    await verify_books(after)
    before = await facts(after)
    await after.grow_old()
    assert await facts(after) == before
    return after


@pytest.mark.parametrize("point", PLACING)
async def test_a_crash_while_placing_an_order(market: Market, point: str) -> None:
    order = await market.order()
    with crash_at(point):
        await market.place(order)
    async with restarted(market.system) as system:
        after = await recovered(market, system)
        state = await after.state(order)
        told = await after.told(order)
    if point in CHARGED:
        assert (state, told) == ("confirmed", "confirmed")
    else:
        assert state == (None if point == FIRST else "cancelled")
        assert told in {"saga_abandoned", "saga_expired"}


@pytest.mark.parametrize("point", PLACING)
async def test_a_customer_who_tries_again_after_a_crash_gets_the_order(
    market: Market, point: str
) -> None:
    order = await market.order()
    with crash_at(point):
        await market.place(order)
    async with restarted(market.system) as system:
        assert await market.after(system).told(order) == "confirmed"
        after = await recovered(market, system)
        assert await after.stock(order.variant) == (3, 0)


@pytest.mark.parametrize("point", UNPLACING)
async def test_a_crash_while_an_order_is_taken_back(market: Market, point: str) -> None:
    order = await market.order(source="tok_unavailable")
    with crash_at(point):
        await market.place(order)
    async with restarted(market.system) as system:
        after = await recovered(market, system)
        assert await after.state(order) == "cancelled"
        assert await after.stock(order.variant) == (5, 0)
        assert await after.told(order) == "saga_abandoned"


async def pay(market: Market, order: Order, source: str = "tok_visa") -> str:
    """What the customer is told after trying another card."""
    checkout = checkout_of(market.system)
    try:
        body = PaymentBody(payment_source=source)
        settled = await checkout.pay(order.claims, "pay", order.id, body)
    except BulkheadError as error:
        return error.code
    return str(settled["state"])


@pytest.mark.parametrize("again", [False, True])
@pytest.mark.parametrize("point", PAYING)
async def test_a_crash_while_paying_with_another_card(
    market: Market, point: str, again: bool
) -> None:
    order = await market.order(source="tok_chargeDeclined")
    assert await market.told(order) == "pending"
    with crash_at(point):
        await pay(market, order)
    async with restarted(market.system) as system:
        if again:
            assert await pay(market.after(system), order) == "confirmed"
        after = await recovered(market, system)
        expected = "confirmed" if again or point in CHARGED else "pending"
        assert await after.state(order) == expected
        if expected == "pending":
            await end_orders(after)


@pytest.mark.parametrize("point", UNPAYING)
async def test_a_crash_while_a_payment_is_taken_back(market: Market, point: str) -> None:
    order = await market.order(source="tok_chargeDeclined")
    await market.place(order)
    with crash_at(point):
        await pay(market, order, "tok_unavailable")
    async with restarted(market.system) as system:
        after = await recovered(market, system)
        assert await after.state(order) == "pending"
        await end_orders(after)


async def end_orders(market: Market) -> None:
    """Nobody pays for what still waits: its time runs out."""
    await market.run("orders", "update orders set deadline_at = 'epoch' where state = 'pending'")
    await market.settle_down()
    await verify_books(market)


@pytest.mark.parametrize("again", [False, True])
@pytest.mark.parametrize("point", REFUNDING)
async def test_a_crash_while_giving_money_back(market: Market, point: str, again: bool) -> None:
    order = await market.order()
    await market.place(order)
    await drain(market.system)
    with crash_at(point):
        await checkout_of(market.system).cancel(order.claims, order.id, "changed my mind")
    async with restarted(market.system) as system:
        after = market.after(system)
        if again:
            await checkout_of(system).cancel(order.claims, order.id, "changed my mind")
        await market.run("orders", "update refunds set created_at = 'epoch'")
        after = await recovered(market, system)
        assert await after.state(order) == "cancelled"
        assert await after.stock(order.variant) == (5, 0)
        assert kept(after)[str(order.id)] == 0


@pytest.mark.parametrize("after_times", [0, 1])
@pytest.mark.parametrize("point", RELAYING)
async def test_a_crash_while_telling_the_other_databases(
    market: Market, point: str, after_times: int
) -> None:
    orders = [await market.order() for _ in range(3)]
    for order in orders:
        await market.place(order)
    with crash_at(point, after=after_times):
        await drain(market.system)
    async with restarted(market.system) as system:
        after = await recovered(market, system)
        assert {await after.stock(order.variant) for order in orders} == {(3, 0)}


@pytest.mark.parametrize("point", TELLING)
async def test_a_crash_while_hearing_of_a_payment(market: Market, point: str) -> None:
    order = await market.order(source="tok_pending")
    assert await market.told(order) == "saga_pending"
    async with website(market.system):
        with crash_at(point):
            await market.provider.drain_webhooks()
    async with restarted(market.system) as system, website(system):
        after = market.after(system)
        await after.provider.drain_webhooks()
        assert await after.state(order) == "confirmed"
        assert await after.told(order) == "confirmed"
        await recovered(market, system)


async def test_an_order_that_ends_before_its_payment_arrives_gets_the_money_back(
    market: Market,
) -> None:
    order = await market.order(source="tok_pending")
    await market.told(order)
    await checkout_of(market.system).cancel(order.claims, order.id, "changed my mind")
    async with website(market.system):
        with crash_at("webhook.payments.received"):
            await market.provider.drain_webhooks()
    await market.run("orders", "update refunds set created_at = 'epoch'")
    async with restarted(market.system) as system, website(system):
        after = await recovered(market, system)
        assert kept(after)[str(order.id)] == 0
        assert await after.told(order) == "cancelled"


def order_id(placed: dict[str, str]) -> UUID:
    return UUID(placed["order_id"])
