import json
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import pytest
from tests.integration.apps.commerce.products.storefront import (
    Caller,
    Storefront,
    Ware,
    open_storefront,
)

from bulkhead.apps.commerce.products.cart.model import LINES_MAX
from bulkhead.apps.commerce.products.cart.service import get_cart, merge_guest_cart
from bulkhead.engine.connections.claims import SERVICE, user
from bulkhead.engine.ids import new_id
from bulkhead.engine.testing import TestServers

NOWHERE = "01a20000-0000-7000-8000-000000000000"
EMPTY = {"lines": [], "quantity": 0, "totals": []}


@pytest.fixture(scope="module")
async def shop(
    servers: TestServers, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Storefront]:
    async with open_storefront(servers, tmp_path_factory.mktemp("home")) as shop:
        yield shop


@pytest.fixture
async def lamp(shop: Storefront) -> Ware:
    [lamp] = await shop.add(Ware("Lamp", ("10.00", "12.50"), (5, 0)))
    return lamp


async def put(caller: Caller, ware: Ware, quantity: int = 1, *, number: int = 0) -> Any:
    body = {"variant_id": str(ware.variants[number]), "quantity": quantity}
    answer = await caller.send("POST", "/cart", body)
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/cart", None),
        ("POST", "/cart", {"variant_id": NOWHERE}),
        ("POST", "/cart/merge", {"lines": []}),
        ("POST", "/cart/accept-prices", None),
        ("PATCH", f"/cart/{NOWHERE}", {"quantity": 1}),
        ("DELETE", f"/cart/{NOWHERE}", None),
        ("DELETE", "/cart", None),
    ],
)
async def test_a_stranger_gets_401(shop: Storefront, method: str, path: str, body: object) -> None:
    assert await shop.visitor.refused(method, path, body) == (401, "unauthenticated")


@pytest.mark.parametrize(("method", "body"), [("PATCH", {"quantity": 1}), ("DELETE", None)])
async def test_another_user_s_line_is_not_found(
    shop: Storefront, lamp: Ware, method: str, body: object
) -> None:
    ada, eve = await shop.customer(), await shop.customer()
    before = await put(ada, lamp, 2)
    path = f"/cart/{lamp.variants[0]}"
    assert await eve.refused(method, path, body) == (404, "cart_line_unknown")
    assert await eve.get("/cart") == EMPTY
    await eve.send("DELETE", "/cart")
    assert await ada.get("/cart") == before


async def test_a_cart_shows_what_it_holds(shop: Storefront, lamp: Ware) -> None:
    ada = await shop.customer()
    await put(ada, lamp, 2)
    cart = await put(ada, lamp, 1)
    [line] = cart["lines"]
    assert line == {
        "variant_id": str(lamp.variants[0]),
        "quantity": 3,
        "price": "10.00",
        "currency": "EUR",
        "line_total": "30.00",
        "price_seen": "10.00",
        "currency_seen": "EUR",
        "available": 5,
        "sku": line["sku"],
        "title": "No 0",
        "options": {"size": 0},
        "product": {"id": str(lamp.id), "slug": lamp.slug, "title": "Lamp", "image": None},
        "notices": [],
    }
    assert (cart["quantity"], cart["totals"]) == (3, [{"currency": "EUR", "amount": "30.00"}])


async def test_lines_are_changed_removed_and_cleared(shop: Storefront, lamp: Ware) -> None:
    ada = await shop.customer()
    await put(ada, lamp)
    await put(ada, lamp, number=1)
    first, second = (f"/cart/{variant}" for variant in lamp.variants)
    changed = (await ada.send("PATCH", first, {"quantity": 4})).json()
    assert [line["quantity"] for line in changed["lines"]] == [4, 1]
    removed = (await ada.send("DELETE", second)).json()
    assert [line["variant_id"] for line in removed["lines"]] == [str(lamp.variants[0])]
    assert (await ada.send("DELETE", "/cart")).json() == EMPTY


async def test_scarce_stock_is_told_but_not_refused(shop: Storefront, lamp: Ware) -> None:
    ada = await shop.customer()
    await put(ada, lamp, 6)
    cart = await put(ada, lamp, number=1)
    assert [line["notices"] for line in cart["lines"]] == [["short_stock"], ["sold_out"]]


async def test_a_changed_price_is_told_until_it_is_accepted(shop: Storefront, lamp: Ware) -> None:
    ada = await shop.customer()
    await put(ada, lamp, 2)
    await shop.run(
        "update product_variants set price = $2 where id = $1", lamp.variants[0], Decimal("11.00")
    )
    [line] = (await ada.get("/cart"))["lines"]
    assert (line["price"], line["price_seen"], line["notices"]) == (
        "11.00",
        "10.00",
        ["price_changed"],
    )
    [line] = (await ada.send("POST", "/cart/accept-prices")).json()["lines"]
    assert (line["price_seen"], line["line_total"], line["notices"]) == ("11.00", "22.00", [])


@pytest.mark.parametrize(
    "withdrawal",
    [
        "update products set state = 'archived' where id = $1",
        "update product_variants set archived_at = now() where product_id = $1",
    ],
)
async def test_what_is_no_longer_for_sale_is_told_and_costs_nothing(
    shop: Storefront, lamp: Ware, withdrawal: str
) -> None:
    ada = await shop.customer()
    await put(ada, lamp, 2)
    await shop.run(withdrawal, lamp.id)
    cart = await ada.get("/cart")
    [line] = cart["lines"]
    assert (line["notices"], line["product"], line["price"]) == (["not_for_sale"], None, None)
    assert cart["totals"] == []
    assert (await ada.send("DELETE", f"/cart/{lamp.variants[0]}")).json() == EMPTY


async def test_only_what_is_for_sale_is_put_into_a_cart(shop: Storefront) -> None:
    ada, staff = await shop.customer(), await shop.customer("staff")
    [draft] = await shop.add(Ware("Draft", state="draft"))
    for caller in (ada, staff):
        for variant in (draft.variants[0], new_id()):
            body = {"variant_id": str(variant)}
            assert await caller.refused("POST", "/cart", body) == (404, "variant_not_for_sale")
        assert await caller.get("/cart") == EMPTY


async def test_a_quantity_has_its_limit(shop: Storefront, lamp: Ware) -> None:
    ada = await shop.customer()
    await put(ada, lamp, 999)
    body = {"variant_id": str(lamp.variants[0]), "quantity": 1}
    assert await ada.refused("POST", "/cart", body) == (409, "cart_quantity_exceeded")
    for quantity in (0, 1000, -1, "2"):
        answer = await ada.send("PATCH", f"/cart/{lamp.variants[0]}", {"quantity": quantity})
        assert answer.status_code == 422
    assert (await ada.get("/cart"))["quantity"] == 999


async def test_a_cart_has_its_limit(shop: Storefront, lamp: Ware) -> None:
    ada = await shop.customer()
    [many] = await shop.add(Ware("Many", ("1.00",) * LINES_MAX))
    lines = [{"variant_id": str(variant), "quantity": 1} for variant in many.variants]
    assert (await ada.send("POST", "/cart/merge", {"lines": lines})).status_code == 200
    body = {"variant_id": str(lamp.variants[0])}
    assert await ada.refused("POST", "/cart", body) == (409, "cart_full")
    assert len((await ada.get("/cart"))["lines"]) == LINES_MAX


async def test_a_visitor_s_lines_are_merged_as_far_as_they_are_for_sale(
    shop: Storefront, lamp: Ware
) -> None:
    ada = await shop.customer()
    await put(ada, lamp, 998)
    lines = [
        {"variant_id": str(lamp.variants[0]), "quantity": 5},
        {"variant_id": str(lamp.variants[1]), "quantity": 2},
        {"variant_id": NOWHERE, "quantity": 1},
    ]
    merged = (await ada.send("POST", "/cart/merge", {"lines": lines})).json()
    assert [line["quantity"] for line in merged["lines"]] == [999, 2]


async def test_the_cart_of_a_guest_moves_to_the_user_once(shop: Storefront, lamp: Ware) -> None:
    guest, ada = new_id(), new_id()
    for owner, quantity in ((guest, 3), (ada, 2)):
        async with shop.products.transaction(SERVICE) as tx:
            await tx.execute(
                "insert into shopping_cart (user_id, variant_id, quantity) values ($1, $2, $3)",
                *(owner, lamp.variants[0], quantity),
            )
    for moved in (1, 0):
        async with shop.products.transaction(SERVICE) as tx:
            assert await merge_guest_cart(tx, guest, ada) == moved
    async with shop.products.transaction(user(ada), read_only=True) as tx:
        assert json.loads(await get_cart(tx))["quantity"] == 5
    async with shop.products.transaction(user(guest), read_only=True) as tx:
        assert json.loads(await get_cart(tx)) == EMPTY
