"""Whatever the payment company does, what is confirmed is paid for once, and nothing else is."""

from dataclasses import replace
from decimal import Decimal

import pytest
from tests.integration.apps.commerce.shop import checkout_of
from tests.scenarios.books import kept, verify_books
from tests.scenarios.market import Market, Order, website

from bulkhead.apps.commerce.orders.checkout.model import PaymentBody
from bulkhead.apps.commerce.orders.checkout.service import (
    PaymentNotPossible,
    cancel_orders,
    start_attempts,
)
from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.errors import BulkheadError
from bulkhead.engine.ids import derive_id
from bulkhead.engine.testing import crash_at, drain, expire_leases, restarted

ATTEMPTS = (
    "select string_agg(state, ' ' order by attempt_no) from payment_attempts where order_id = $1"
)


async def pay(market: Market, order: Order, source: str, key: str = "second") -> str:
    """What the customer is told after trying another card."""
    checkout = checkout_of(market.system)
    try:
        settled = await checkout.pay(
            order.claims, key, order.id, PaymentBody(payment_source=source)
        )
    except BulkheadError as error:
        return error.code
    return f"{settled['state']} {settled['attempt_state']}"


async def attempts(market: Market, order: Order) -> str:
    found: str = await market.run("orders", ATTEMPTS, order.id)
    return found


async def settle_pending(market: Market) -> None:
    """Let the company decide about pending charges, and nobody hear of it but who asks."""
    market.settle_charges()
    await expire_leases(market.system)
    await drain(market.system)


async def end_of_day(market: Market) -> None:
    """Every charge is decided, every unpaid order has ended, and the books are right."""
    await settle_pending(market)
    await market.run("orders", "update orders set deadline_at = 'epoch' where state = 'pending'")
    await market.settle_down()
    await verify_books(market)


async def hear(market: Market) -> None:
    """Let the company decide about pending charges, and tell by webhooks."""
    async with website(market.system):
        await market.provider.drain_webhooks()


@pytest.mark.parametrize(
    ("source", "told", "state", "tried"),
    [
        ("tok_visa", "confirmed", "confirmed", "succeeded"),
        ("tok_timeout", "confirmed", "confirmed", "succeeded"),
        ("tok_timeout_uncharged", "saga_abandoned", "cancelled", "voided"),
        ("tok_unavailable", "saga_abandoned", "cancelled", "voided"),
        ("tok_chargeDeclined", "pending", "pending", "declined"),
        ("tok_insufficientFunds", "pending", "pending", "declined"),
        ("tok_of_nobody", "pending", "pending", "declined"),
        ("tok_pending", "saga_pending", "pending", "started"),
        ("tok_pending_then_failed", "saga_pending", "pending", "started"),
    ],
)
async def test_what_a_customer_is_told_and_what_becomes_of_the_order(
    market: Market, source: str, told: str, state: str, tried: str
) -> None:
    order = await market.order(source=source)
    assert await market.told(order) == told
    assert await market.told(order) == told
    assert (await market.state(order), await attempts(market, order)) == (state, tried)
    await end_of_day(market)


@pytest.mark.parametrize(
    ("source", "state", "tried"),
    [
        ("tok_pending", "confirmed", "succeeded"),
        ("tok_pending_then_failed", "pending", "declined"),
    ],
)
async def test_a_charge_that_takes_long_is_asked_after(
    market: Market, source: str, state: str, tried: str
) -> None:
    order = await market.order(source=source)
    await market.told(order)
    await settle_pending(market)
    assert (await market.state(order), await attempts(market, order)) == (state, tried)
    assert await market.told(order) == state
    await end_of_day(market)


@pytest.mark.parametrize("first", ["tok_chargeDeclined", "tok_pending_then_failed"])
async def test_a_second_card_pays_for_the_same_stock(market: Market, first: str) -> None:
    order = await market.order(source=first)
    await market.told(order)
    await settle_pending(market)
    assert await market.stock(order.variant) == (5, 2)
    assert await pay(market, order, "tok_visa") == "confirmed succeeded"
    assert await pay(market, order, "tok_visa") == "confirmed succeeded"
    assert await pay(market, order, "tok_visa", "third") == "payment_not_possible"
    await end_of_day(market)
    assert await market.stock(order.variant) == (3, 0)


async def test_no_second_card_is_taken_while_the_first_is_being_charged(market: Market) -> None:
    order = await market.order(source="tok_pending")
    await market.told(order)
    assert await pay(market, order, "tok_visa") == "payment_not_possible"
    await settle_pending(market)
    assert await market.state(order) == "confirmed"
    await end_of_day(market)


async def test_a_declined_order_that_was_paid_for_later_is_not_taken_back_for_being_late(
    market: Market,
) -> None:
    order = await market.order(source="tok_pending_then_failed")
    await market.told(order)
    # Hears of the decline from a webhook, pays with another card, and only then a worker looks.
    await hear(market)
    assert await pay(market, order, "tok_visa") == "confirmed succeeded"
    await market.grow_old()
    assert await market.state(order) == "confirmed"
    assert await market.stock(order.variant) == (3, 0)
    await verify_books(market)


async def test_a_declined_payment_that_is_late_leaves_the_one_in_flight_alone(
    market: Market,
) -> None:
    order = await market.order(source="tok_chargeDeclined")
    await market.told(order)
    assert await pay(market, order, "tok_pending_then_failed", "slow") == "saga_pending"
    await hear(market)
    assert await pay(market, order, "tok_pending", "slower") == "saga_pending"
    await market.run("orders", "update bulkhead.sagas set deadline_at = 'epoch'")
    await settle_pending(market)
    assert await attempts(market, order) == "declined declined succeeded"
    assert await market.state(order) == "confirmed"
    await end_of_day(market)


async def test_three_declined_cards_end_the_order(market: Market) -> None:
    order = await market.order(source="tok_chargeDeclined")
    assert await market.told(order) == "pending"
    assert await pay(market, order, "tok_chargeDeclined", "second") == "pending declined"
    assert await pay(market, order, "tok_chargeDeclined", "third") == "cancelled declined"
    assert await pay(market, order, "tok_visa", "fourth") == "payment_not_possible"
    await market.settle_down()
    assert await market.stock(order.variant) == (5, 0)
    await verify_books(market)


async def test_an_order_that_nobody_pays_for_ends_with_its_time(market: Market) -> None:
    order = await market.order(source="tok_chargeDeclined")
    await market.told(order)
    await market.do_jobs()
    assert await market.state(order) == "pending"
    await market.run("orders", "update orders set deadline_at = 'epoch' where id = $1", order.id)
    assert await pay(market, order, "tok_visa") == "payment_not_possible"
    await market.settle_down()
    assert await market.state(order) == "cancelled"
    assert await market.stock(order.variant) == (5, 0)
    await verify_books(market)


async def test_an_order_whose_charge_is_pending_outlives_its_time(market: Market) -> None:
    order = await market.order(source="tok_pending")
    await market.told(order)
    await market.run("orders", "update orders set deadline_at = 'epoch' where id = $1", order.id)
    await market.grow_old()
    assert await market.state(order) == "pending"
    await settle_pending(market)
    assert await market.state(order) == "confirmed"
    await end_of_day(market)


async def test_two_cards_in_one_batch_of_work_begin_one_payment(market: Market) -> None:
    order = await market.order(source="tok_chargeDeclined")
    await market.told(order)
    wish = {"order_id": str(order.id), "provider": "local"}
    async with market.system.database("orders").transaction(SERVICE) as tx:
        first, second = await start_attempts(tx, [wish, dict(wish)])
    assert isinstance(first, dict)
    assert isinstance(second, PaymentNotPossible)
    sql = "update payment_attempts set state = 'voided' where state = 'started'"
    await market.run("orders", sql)
    await end_of_day(market)


async def test_a_price_that_changes_after_the_order_is_not_charged(market: Market) -> None:
    order = await market.order()
    with crash_at("saga.place_order.charge.before"):
        await market.place(order)
    sql = "update product_variants set price = price + 5 where id = $1"
    await market.run("products", sql, order.variant.id)
    async with restarted(market.system) as system:
        after = market.after(system)
        assert (await after.place(order))["total"] == "20.00"
        assert kept(after)[str(order.id)] == 2000
        again = replace(order, key="another", wished={"expected_total": order.total})
        assert await after.told(again) == "price_changed"
        again = replace(again, wished={"expected_total": Decimal("30.00")})
        assert await after.told(again) == "confirmed"
        await end_of_day(after)


@pytest.mark.parametrize("changed", ["price", "cart"])
async def test_stock_held_before_a_crash_is_not_used_for_another_order(
    market: Market, changed: str
) -> None:
    """The process died with stock held and no order; what the customer wants has changed since."""
    order = replace(await market.order(), from_cart=True)
    await market.fill_cart(order, 2)
    with crash_at("saga.place_order.open_order.before"):
        await market.place(order)
    if changed == "cart":
        await market.fill_cart(order, 1)
    else:
        sql = "update product_variants set price = price + 5 where id = $1"
        await market.run("products", sql, order.variant.id)
    async with restarted(market.system) as system:
        after = market.after(system)
        assert await after.told(order) == "saga_step_differs"
        assert await after.told(replace(order, key="another")) == "confirmed"
        await end_of_day(after)
        assert (await after.stock(order.variant))[1] == 0


async def test_a_refund_that_cannot_be_made_does_not_delay_the_others(market: Market) -> None:
    orders = [await market.order() for _ in range(2)]
    refunds = []
    for order in orders:
        await market.place(order)
        async with market.system.database("orders").transaction(SERVICE) as tx:
            [ended] = await cancel_orders(tx, [order.id], reason="changed my mind")
        refunds.append(ended["refund_id"])
    await market.run(
        "orders",
        "update refunds set created_at = 'epoch'::timestamptz"
        " + case id when $1 then '0 s' else '1 s' end::interval where state = 'requested'",
        refunds[0],
    )
    stuck = derive_id("commerce.refund", refunds[0])
    await market.run(
        "orders",
        "insert into bulkhead.sagas"
        " (id, name, state, input, request_hash, error, leased_until, deadline_at)"
        " values ($1, 'refund_payment', 'compensated', '{}', 'refund', '{}', now(), now())",
        stuck,
    )
    await market.do_jobs()
    assert [kept(market)[str(order.id)] for order in orders] == [2000, 0]
    await market.run("orders", "delete from bulkhead.sagas where id = $1", stuck)
    await end_of_day(market)
    assert kept(market)[str(orders[0].id)] == 0
