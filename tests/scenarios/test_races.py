"""Twenty clients at a barrier, for everything that may be done only so often.

Two processes serve them, so that nothing is kept apart by what only one of them knows.
"""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace
from decimal import Decimal
from functools import partial
from typing import Any

import httpx
import pytest
from tests.integration.apps.commerce.shop import checkout_of, wish
from tests.scenarios.books import INVARIANTS, kept, verify_books
from tests.scenarios.effort import RACE_ROUNDS
from tests.scenarios.market import Market, Order, open_market, website
from tests.scenarios.test_database_faults import RECOVERY_S, be_patient
from tests.scenarios.test_webhooks import payment, tell

from bulkhead.apps.commerce.application import people_of
from bulkhead.apps.commerce.orders.checkout.model import PaymentBody
from bulkhead.apps.commerce.orders.refunds.service import request_refund
from bulkhead.apps.commerce.products.cart.service import add_to_cart
from bulkhead.capabilities.identity import create_user
from bulkhead.engine import failpoints
from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.errors import BulkheadError
from bulkhead.engine.ids import new_id
from bulkhead.engine.messaging import saga_runner
from bulkhead.engine.system import build_system
from bulkhead.engine.testing import TestServers

CLIENTS = 20
COUPON = (
    "insert into coupons (code, kind, value, total_limit, per_user_limit)"
    " values ($1, 'percent', 10, $2, $3) returning id"
)

pytestmark = pytest.mark.parametrize("round_number", range(RACE_ROUNDS))


@pytest.fixture(scope="module")
async def shops(
    servers: TestServers, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Sequence[Market]]:
    """One shop, as two processes see it."""
    async with open_market(servers, tmp_path_factory.mktemp("home"), pool_size=6) as one:
        two = build_system(
            one.system.application, one.system.settings, one.system.router.placements
        )
        shops = one, Market(two)
        for shop in shops:  # Whose turn it is, is not what is looked at.
            be_patient(shop, RECOVERY_S)
        try:
            yield shops
        finally:
            await two.close()
        await verify_books(one, invariants=INVARIANTS)


async def race(clients: Sequence[Callable[[], Awaitable[object]]]) -> list[object]:
    """What each client got, when all of them begin at once: a value, or the code of an error."""
    barrier = asyncio.Barrier(len(clients))

    async def run(client: Callable[[], Awaitable[object]]) -> object:
        await barrier.wait()
        try:
            return await client()
        except BulkheadError as error:
            return error.code

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(run(client)) for client in clients]
    return [task.result() for task in tasks]


async def end_of_day(shops: Sequence[Market]) -> None:
    one, two = shops
    one.settle_charges()
    for shop in shops:
        await shop.system.sagas.drain()
    await one.run("orders", "update orders set deadline_at = 'epoch' where state = 'pending'")
    await one.run("orders", "update refunds set created_at = 'epoch' where state = 'requested'")
    await one.settle_down()
    await two.settle_down()
    await verify_books(one)


async def test_the_last_units(shops: Sequence[Market], round_number: int) -> None:
    variant = await shops[0].variant(stock=7)
    orders = [
        Order(await shops[0].customer(), variant, "tok_visa", {}, quantity=1 + number % 2)
        for number in range(CLIENTS)
    ]
    told = await race([partial(shops[n % 2].told, o) for n, o in enumerate(orders)])
    await end_of_day(shops)
    sold = sum(o.quantity for o, answer in zip(orders, told, strict=True) if answer == "confirmed")
    assert set(told) == {"confirmed", "stock_exhausted"}
    assert await shops[0].stock(variant) == (7 - sold, 0)
    assert sold in {6, 7}  # A last unit is of no use to those who want two.


async def test_baskets_with_the_same_goods_in_another_order(
    shops: Sequence[Market], round_number: int
) -> None:
    goods = [await shops[0].variant(stock=CLIENTS) for _ in range(3)]
    customers = [await shops[0].customer() for _ in range(CLIENTS)]

    async def buy(number: int) -> str:
        lines = [(goods[(number + step) % 3], 1) for step in range(3)]
        placed = await checkout_of(shops[number % 2].system).place(
            customers[number], "key", wish(*lines)
        )
        return str(placed["state"])

    told = await race([partial(buy, n) for n in range(CLIENTS)])
    assert Counter(told) == {"confirmed": CLIENTS}
    await end_of_day(shops)
    assert [await shops[0].stock(each) for each in goods] == [(0, 0)] * 3


async def test_one_key(shops: Sequence[Market], round_number: int) -> None:
    order = await shops[0].order()
    answers = await race([partial(shops[n % 2].place, order) for n in range(CLIENTS)])
    assert answers == [answers[0]] * CLIENTS
    assert isinstance(answers[0], dict)
    await end_of_day(shops)
    assert kept(shops[0])[str(order.id)] == order.total * 100


async def test_one_key_for_two_requests(shops: Sequence[Market], round_number: int) -> None:
    """Whoever comes first has the key; the other request is never answered with his order."""
    order = await shops[0].order()
    other = replace(order, quantity=1)
    told = await race([partial(shops[n % 2].told, (order, other)[n // 10]) for n in range(CLIENTS)])
    assert set(told) <= {"confirmed", "idempotency_key_reused", "saga_step_differs"}
    assert Counter(told)["idempotency_key_reused"] >= 10
    await end_of_day(shops)


async def coupon(shop: Market, total: int | None, each: int | None) -> str:
    code = f"C{new_id().hex[-10:]}"
    await shop.run("orders", COUPON, code, total, each)
    return code


async def test_a_coupon_for_ten(shops: Sequence[Market], round_number: int) -> None:
    """A hundred checkouts of twenty customers, one use each: ten get it."""
    code = await coupon(shops[0], 10, 1)
    customers = [await shops[0].customer() for _ in range(CLIENTS)]
    variant = await shops[0].variant(stock=1000)
    orders = [
        Order(customers[n % CLIENTS], variant, "tok_visa", {"coupon_code": code}, key=f"key-{n}")
        for n in range(5 * CLIENTS)
    ]
    told = await race([partial(shops[n % 2].told, o) for n, o in enumerate(orders)])
    assert Counter(told) == {"confirmed": 10, "coupon_refused": 90}
    winners = [o for o, answer in zip(orders, told, strict=True) if answer == "confirmed"]
    assert len({order.claims.subject for order in winners}) == 10
    await end_of_day(shops)
    checkout = checkout_of(shops[0].system)
    for order in winners[:4]:
        await checkout.cancel(order.claims, order.id, "changed my mind")
    again = [replace(order, key=f"{order.key}-again") for order in orders[:CLIENTS]]
    told = await race([partial(shops[0].told, o) for o in again])
    assert Counter(told) == {"confirmed": 4, "coupon_refused": 16}
    await end_of_day(shops)


async def test_a_coupon_twice_for_each(shops: Sequence[Market], round_number: int) -> None:
    code = await coupon(shops[0], None, 2)
    customer, variant = await shops[0].customer(), await shops[0].variant(stock=1000)
    orders = [
        Order(customer, variant, source, {"coupon_code": code}, key=f"key-{n}")
        for n, source in enumerate(["tok_visa", "tok_unavailable"] * (CLIENTS // 2))
    ]
    told = await race([partial(shops[n % 2].told, o) for n, o in enumerate(orders)])
    assert set(told) <= {"confirmed", "coupon_refused", "saga_abandoned"}
    assert Counter(told)["confirmed"] <= 2
    await end_of_day(shops)
    fresh = [replace(order, key=f"{order.key}-again", source="tok_visa") for order in orders]
    more = [await shops[0].told(order) for order in fresh]
    assert Counter(told)["confirmed"] + Counter(more)["confirmed"] == 2


async def test_several_cards_for_one_order(shops: Sequence[Market], round_number: int) -> None:
    order = await shops[0].order(source="tok_chargeDeclined")
    await shops[0].place(order)
    others = [await shops[0].order() for _ in range(4)]

    async def pay(number: int) -> str:
        body = PaymentBody(payment_source=("tok_visa", "tok_insufficientFunds")[number % 2])
        checkout = checkout_of(shops[number % 2].system)
        settled = await checkout.pay(order.claims, f"card-{number}", order.id, body)
        return str(settled["state"])

    clients: list[Callable[[], Awaitable[object]]] = [
        partial(pay, n) for n in range(CLIENTS - len(others))
    ]
    clients += [partial(shops[0].told, o) for o in others]
    told = Counter(await race(clients))
    assert set(told) <= {"confirmed", "pending", "cancelled", "payment_not_possible"}
    await end_of_day(shops)
    state = await shops[0].state(order)
    assert kept(shops[0])[str(order.id)] == (order.total * 100 if state == "confirmed" else 0)


async def test_cancelling_while_paying(shops: Sequence[Market], round_number: int) -> None:
    orders = [await shops[0].order(source="tok_chargeDeclined") for _ in range(CLIENTS // 2)]
    for order in orders:
        await shops[0].place(order)

    async def pay(order: Order) -> str:
        body = PaymentBody(payment_source="tok_visa")
        settled = await checkout_of(shops[0].system).pay(order.claims, "pay", order.id, body)
        return str(settled["state"])

    async def cancel(order: Order) -> str:
        checkout = checkout_of(shops[1].system)
        await checkout.cancel(order.claims, order.id, "changed my mind")
        return "cancelled"

    await race([each for o in orders for each in (partial(pay, o), partial(cancel, o))])
    await end_of_day(shops)
    assert {await shops[0].state(order) for order in orders} == {"cancelled"}
    assert {kept(shops[0])[str(order.id)] for order in orders} == {0}


async def test_cancelling_while_placing(shops: Sequence[Market], round_number: int) -> None:
    orders = [await shops[0].order() for _ in range(CLIENTS // 2)]

    async def cancel(order: Order) -> str:
        while await shops[1].state(order) is None:
            pass
        checkout = checkout_of(shops[1].system)
        await checkout.cancel(order.claims, order.id, "changed my mind")
        return "cancelled"

    await race([e for o in orders for e in (partial(shops[0].told, o), partial(cancel, o))])
    await end_of_day(shops)
    assert {await shops[0].state(order) for order in orders} == {"cancelled"}
    assert {await shops[0].stock(order.variant) for order in orders} == {(5, 0)}


async def test_cancelling_twenty_times(shops: Sequence[Market], round_number: int) -> None:
    order = await shops[0].order()
    await shops[0].place(order)

    async def cancel(shop: Market) -> object:
        return await checkout_of(shop.system).cancel(order.claims, order.id, "changed my mind")

    await race([partial(cancel, shops[n % 2]) for n in range(CLIENTS)])
    await end_of_day(shops)
    refunds = "select count(*) from refunds where order_id = $1"
    assert await shops[0].run("orders", refunds, order.id) == 1
    assert kept(shops[0])[str(order.id)] == 0


async def test_cancelling_while_another_process_is_giving_the_money_back(
    shops: Sequence[Market], round_number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(saga_runner, "REPEAT_WAIT_S", 0.0)
    order, reached = await shops[0].order(), asyncio.Event()
    await shops[0].place(order)

    async def cancel(shop: Market) -> object:
        told = await checkout_of(shop.system).cancel(order.claims, order.id, "changed my mind")
        return json.loads(told)["state"]

    point = "saga.refund_payment.refund.before"
    failpoints.arm(point, failpoints.Mode.STALL)
    failpoints.observe(lambda name: reached.set() if name == point else None)
    try:
        first = asyncio.create_task(cancel(shops[0]))
        await reached.wait()
        assert await cancel(shops[1]) == "cancelled"
    finally:
        failpoints.observe(None)
        failpoints.disarm(point)
    assert await first == "cancelled"
    await end_of_day(shops)
    assert kept(shops[0])[str(order.id)] == 0


async def test_refunds_never_exceed_what_was_paid(
    shops: Sequence[Market], round_number: int
) -> None:
    order = await shops[0].order()
    await shops[0].place(order)

    async def ask(shop: Market, number: int) -> object:
        async with shop.system.database("orders").transaction(SERVICE) as tx:
            return await request_refund(
                tx,
                order.id,
                f"part-{number // 2}",
                amount=Decimal("3.00"),
                reason="",
                requested_by=None,
            )

    told = await race([partial(ask, shops[n % 2], n) for n in range(CLIENTS)])
    assert len(set(told) - {"not_refundable"}) == 6  # 6 times 3.00 of 20.00
    await end_of_day_with_refunds(shops, order, Decimal("18.00"))


async def end_of_day_with_refunds(shops: Sequence[Market], order: Order, given: Decimal) -> None:
    """What is left of a confirmed order's payment is refunded too, so that the books are simple."""
    await shops[0].run("orders", "update refunds set created_at = 'epoch'")
    await shops[0].settle_down()
    assert kept(shops[0])[str(order.id)] == (order.total - given) * 100
    await checkout_of(shops[0].system).cancel(order.claims, order.id, "changed my mind")
    await end_of_day(shops)
    assert kept(shops[0])[str(order.id)] == 0


async def test_one_webhook_delivered_twenty_times_at_once(
    shops: Sequence[Market], round_number: int
) -> None:
    order = await shops[0].order(source="tok_pending")
    await shops[0].told(order)
    event = payment(order)
    async with website(shops[0].system) as one, website(shops[1].system) as two:
        sites: list[httpx.AsyncClient] = [one, two]
        told = await race([partial(tell, shops[0], sites[n % 2], event) for n in range(CLIENTS)])
        assert Counter(told) == {"settled": 1, "duplicate": CLIENTS - 1}
        more = [replace(event, id=f"evt_{new_id().hex}") for _ in range(CLIENTS)]
        told = await race([partial(tell, shops[0], one, e) for e in more])
        assert Counter(told) == {"unchanged": CLIENTS}
    shops[0].settle_charges()
    await end_of_day(shops)


async def test_one_cart_in_twenty_tabs(shops: Sequence[Market], round_number: int) -> None:
    customer, variant = await shops[0].customer(), await shops[0].variant()

    async def add(shop: Market) -> None:
        async with shop.system.database("products").transaction(customer) as tx:
            await add_to_cart(tx, variant.id, 1)

    assert set(await race([partial(add, shops[n % 2]) for n in range(CLIENTS)])) == {None}
    lines = "select array_agg(quantity) from shopping_cart where variant_id = $1"
    assert await shops[0].run("products", lines, variant.id) == [CLIENTS]


async def test_one_address_of_twenty_new_users(shops: Sequence[Market], round_number: int) -> None:
    email = f"{new_id().hex}@example.com"

    async def sign_up(shop: Market) -> Any:
        people = people_of(shop.system)
        return (await create_user(people, email=email, password="long and odd")).id  # noqa: S106

    told = await race([partial(sign_up, shops[n % 2]) for n in range(4)])
    assert sum(not isinstance(answer, str) for answer in told) == 1
    users = "select count(*) from auth.users where lower(email) = $1"
    assert await shops[0].run("users", users, email) == 1
