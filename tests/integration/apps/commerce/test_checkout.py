import asyncio
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import cast
from uuid import UUID

import pytest
from tests.integration.apps.commerce.shop import (
    add_user,
    add_variant,
    charged,
    checkout_of,
    states_of,
    stock_of,
    wish,
)

from bulkhead.apps.commerce.application import APPLICATION
from bulkhead.apps.commerce.orders.checkout.model import PriceChanged
from bulkhead.apps.commerce.orders.history.service import OrderStateRefused, move_order
from bulkhead.apps.commerce.products.cart.service import (
    accept_prices,
    add_to_cart,
    merge_lines,
    remove_line,
    set_quantity,
)
from bulkhead.apps.commerce.products.inventory.model import StockExhausted
from bulkhead.apps.commerce.products.pricing.model import CartEmpty, VariantUnknown
from bulkhead.engine.connections.claims import SERVICE, Claims
from bulkhead.engine.ids import new_id
from bulkhead.engine.messaging.saga_errors import IdempotencyKeyReused, StoredRefusal
from bulkhead.engine.settings import Settings
from bulkhead.engine.system import System
from bulkhead.engine.testing import TestServers, drain, restarted


@pytest.fixture(params=["one server", "a server each"])
async def shop(
    servers: TestServers, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> AsyncIterator[System]:
    settings = Settings(home=tmp_path_factory.mktemp("home"))
    apart = request.param == "a server each"
    async with servers.system(APPLICATION, settings, apart=apart) as system:
        yield system


async def test_an_order_holds_stock_is_charged_and_confirmed(shop: System) -> None:
    claims, variant = await add_user(shop), await add_variant(shop, stock=5)
    placed = await checkout_of(shop).place(claims, "key-1", wish((variant, 2)))
    assert (placed["state"], placed["total"]) == ("confirmed", "20.00")
    assert await stock_of(shop, variant) == (5, 2)
    await drain(shop)
    assert await stock_of(shop, variant) == (3, 0)
    assert charged(shop) == Decimal("20.00")
    async with shop.database("users").transaction(claims) as tx:
        [entry] = await tx.fetch("select action, subject_id from user_activity_logs")
    assert (entry["action"], str(entry["subject_id"])) == ("order.confirmed", placed["order_id"])


async def test_what_is_put_into_the_cart_after_it_was_ordered_stays_there(shop: System) -> None:
    claims, products = await add_user(shop), shop.database("products")
    once, anew, more = [(await add_variant(shop, stock=9)).id for _ in range(3)]
    async with products.transaction(claims) as tx:
        await merge_lines(tx, {once: 2, anew: 2, more: 2})
    await checkout_of(shop).place(claims, "key", wish())
    async with products.transaction(claims) as tx:
        await accept_prices(tx)
        await set_quantity(tx, once, 1)
        await remove_line(tx, anew)
        await add_to_cart(tx, anew, 1)
        await add_to_cart(tx, more, 3)
    await drain(shop)
    async with products.transaction(claims) as tx:
        lines = await tx.fetch("select variant_id, quantity from shopping_cart")
    assert {line["variant_id"]: line["quantity"] for line in lines} == {anew: 1, more: 3}


async def test_a_repeat_with_the_same_key_gets_the_first_order(shop: System) -> None:
    claims, variant = await add_user(shop), await add_variant(shop, stock=5)
    first = await checkout_of(shop).place(claims, "key", wish((variant, 1)))
    async with restarted(shop) as after:
        assert await checkout_of(after).place(claims, "key", wish((variant, 1))) == first
        with pytest.raises(IdempotencyKeyReused):
            await checkout_of(after).place(claims, "key", wish((variant, 2)))
    assert charged(shop) == Decimal("10.00")


async def test_the_key_of_one_customer_is_not_the_key_of_another(shop: System) -> None:
    variant = await add_variant(shop, stock=5)
    one = await checkout_of(shop).place(await add_user(shop), "key", wish((variant, 1)))
    two = await checkout_of(shop).place(await add_user(shop), "key", wish((variant, 1)))
    assert one["order_id"] != two["order_id"]


async def test_an_order_for_more_than_there_is_is_refused_with_what_there_is(
    shop: System,
) -> None:
    claims, variant = await add_user(shop), await add_variant(shop, stock=1)
    with pytest.raises(StockExhausted) as refused:
        await checkout_of(shop).place(claims, "key", wish((variant, 2)))
    lines = cast("list[dict[str, int]]", refused.value.details["lines"])
    assert [(line["quantity"], line["available"]) for line in lines] == [(2, 1)]
    assert await states_of(shop) == ["rejected"]
    assert await stock_of(shop, variant) == (1, 0)
    assert charged(shop) == 0
    with pytest.raises(StoredRefusal) as again:
        await checkout_of(shop).place(claims, "key", wish((variant, 2)))
    assert again.value.to_json() == refused.value.to_json()


async def test_a_declined_card_leaves_the_order_waiting_for_another(shop: System) -> None:
    claims, variant = await add_user(shop), await add_variant(shop, stock=5)
    placed = await checkout_of(shop).place(
        claims, "key", wish((variant, 1), source="tok_chargeDeclined")
    )
    assert (placed["state"], placed["attempt_state"]) == ("pending", "declined")
    assert placed["decline_code"] == "card_declined"
    assert await stock_of(shop, variant) == (5, 1)


async def test_an_unknown_product_is_refused_before_anything_is_written(shop: System) -> None:
    claims, variant = await add_user(shop), await add_variant(shop, stock=5)
    gone = type(variant)(new_id(), new_id(), Decimal(1))
    with pytest.raises(VariantUnknown):
        await checkout_of(shop).place(claims, "key", wish((variant, 1), (gone, 1)))
    assert await states_of(shop) == []


async def test_an_empty_cart_is_refused(shop: System) -> None:
    with pytest.raises(CartEmpty):
        await checkout_of(shop).place(await add_user(shop), "key", wish())


async def test_a_changed_price_is_never_charged_without_asking(shop: System) -> None:
    claims, variant = await add_user(shop), await add_variant(shop, stock=5)
    with pytest.raises(PriceChanged):
        await checkout_of(shop).place(
            claims, "key", wish((variant, 1), expected_total=Decimal("9.99"))
        )
    assert charged(shop) == 0


async def test_a_rush_sells_exactly_what_there_is(shop: System) -> None:
    variant = await add_variant(shop, stock=20)
    customers = [await add_user(shop) for _ in range(40)]
    sold = await _rush(shop, customers, variant)
    assert sold == 20
    await drain(shop)
    assert await stock_of(shop, variant) == (0, 0)
    assert charged(shop) == Decimal("200.00")


async def test_carts_with_shared_variants_in_opposite_order_do_not_deadlock(shop: System) -> None:
    one, two = await add_variant(shop, stock=100), await add_variant(shop, stock=100)
    customers = [await add_user(shop) for _ in range(20)]
    checkout = checkout_of(shop)
    async with asyncio.TaskGroup() as group:
        for number, claims in enumerate(customers):
            lines = [(one, 1), (two, 2)] if number % 2 else [(two, 2), (one, 1)]
            group.create_task(checkout.place(claims, "key", wish(*lines)))
    assert await states_of(shop) == ["confirmed"] * 20


async def test_a_cancelled_order_gives_stock_and_money_back(shop: System) -> None:
    claims, variant = await add_user(shop), await add_variant(shop, stock=5)
    placed = await checkout_of(shop).place(claims, "key", wish((variant, 2)))
    await drain(shop)
    await checkout_of(shop).cancel(claims, UUID(placed["order_id"]), "changed my mind")
    await drain(shop)
    assert await stock_of(shop, variant) == (5, 0)
    assert charged(shop) == 0
    assert await states_of(shop) == ["cancelled"]
    with pytest.raises(OrderStateRefused):
        async with shop.database("orders").transaction(SERVICE) as tx:
            await move_order(tx, UUID(placed["order_id"]), "shipped")


async def test_an_order_cancelled_before_its_stock_was_sold_gives_it_back(shop: System) -> None:
    claims, variant = await add_user(shop), await add_variant(shop, stock=5)
    placed = await checkout_of(shop).place(claims, "key", wish((variant, 2)))
    await checkout_of(shop).cancel(claims, UUID(placed["order_id"]), "changed my mind")
    await drain(shop)
    assert await stock_of(shop, variant) == (5, 0)


async def _rush(shop: System, customers: list[Claims], variant: object) -> int:
    checkout = checkout_of(shop)

    async def buy(claims: Claims) -> bool:
        try:
            await checkout.place(claims, "key", wish((variant, 1)))  # type: ignore[arg-type]
        except StockExhausted:
            return False
        return True

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(buy(claims)) for claims in customers]
    return sum(task.result() for task in tasks)


async def test_nothing_is_left_in_use(shop: System) -> None:
    claims, variant = await add_user(shop), await add_variant(shop, stock=5)
    await checkout_of(shop).place(claims, "key", wish((variant, 2)))
    await drain(shop)
    for database in shop.router:
        assert {pool.stats.in_use for pool in database.pools.values()} == {0}
        async with database.transaction(SERVICE) as tx:
            assert await tx.fetchval("select count(*) from bulkhead.deliveries") == 0
