"""Everybody does everything at once in a store; its books are right in the end."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from mariadb_server import MariadbServer
from tests.integration.apps.store_platform.mariadb import make_mariadb, open_mariadb_store
from tests.integration.apps.store_platform.platform import Caller, Site, open_site

from bulkhead.engine.fleet.model import TenantId
from bulkhead.engine.ids import new_id
from bulkhead.engine.testing import TestServers

CLIENTS, TURNS, PRODUCTS = 10, 16, 5
EXPECTED = {
    "not_found",
    "stock_too_small",
    "product_unsellable",
    "order_stuck",
    "unique_violated",
    "foreign_key_violated",
    "idempotency_key_reused",
    "check_violated",
    "discount_refused",
}
"""What may be told to whoever comes too late."""


@pytest.fixture(scope="module")
async def site(
    servers: TestServers, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Site]:
    home: Path = tmp_path_factory.mktemp("home")
    async with open_site(servers, home) as site:
        yield site


class Client:
    """Somebody who does one thing after another."""

    def __init__(
        self, owner: Caller, store: UUID, number: int, shared: dict[str, list[str]]
    ) -> None:
        self.owner, self.path, self.shared = owner, f"/stores/{store}", shared
        self.chance = random.Random(number)  # noqa: S311
        self.answers: Counter[tuple[int, str | None]] = Counter()

    async def live(self) -> None:
        acts = [self.sell, self.order, self.order, self.repeat, self.move, self.stock, self.drop]
        for _ in range(TURNS):
            await self.chance.choice(acts)()

    async def send(self, method: str, path: str, body: object = None, **headers: str) -> Any:
        answer = await self.owner.send(method, self.path + path, body, **headers)
        told = answer.json() if answer.content else {}
        self.answers[answer.status_code, told.get("code") if answer.is_error else None] += 1
        return None if answer.is_error else told

    async def sell(self) -> None:
        name = new_id().hex
        made = await self.send("POST", "/products", {"sku": name, "slug": name, "name": "Tea"})
        price = {"product_id": made["id"], "currency": "USD", "amount": "5"}
        await self.send("POST", "/prices", price)
        await self.send("POST", f"/products/{made['id']}/inventory", {"quantity": 20})
        self.shared["products"].append(made["id"])

    def wish(self) -> dict[str, Any]:
        products = self.chance.sample(self.shared["products"], 3)
        lines = [{"product_id": each, "quantity": self.chance.randrange(1, 4)} for each in products]
        email = f"{self.chance.randrange(4)}@example.com"
        return {"email": email, "lines": lines, "discount_code": self.chance.choice(["TEN", None])}

    async def order(self) -> None:
        placed = await self.send("POST", "/orders", self.wish())
        if placed is not None:
            self.shared["orders"].append(placed["id"])

    async def repeat(self) -> None:
        wish, key = self.wish(), f"key{self.chance.randrange(8)}"
        for _ in range(2):
            await self.send("POST", "/orders", wish, idempotency_key=key)

    async def move(self) -> None:
        if self.shared["orders"]:
            order = self.chance.choice(self.shared["orders"])
            state = self.chance.choice(["confirmed", "cancelled", "cancelled", "shipped"])
            await self.send("POST", f"/orders/{order}/state", {"state": state})

    async def stock(self) -> None:
        product = self.chance.choice(self.shared["products"])
        quantity = self.chance.choice([-2, 3])
        await self.send("POST", f"/products/{product}/inventory", {"quantity": quantity})

    async def drop(self) -> None:
        if len(self.shared["products"]) > PRODUCTS:
            at = self.chance.randrange(len(self.shared["products"]))
            await self.send("DELETE", f"/products/{self.shared['products'].pop(at)}")


@pytest.mark.parametrize("kind", ["postgresql", "mysql"])
async def test_a_storm_leaves_the_books_right(
    site: Site, mariadb: MariadbServer, kind: str
) -> None:
    owner = await site.caller()
    if kind == "postgresql":
        store = await site.open_store(owner)
    else:
        store, _ = await open_mariadb_store(site, owner, await make_mariadb(mariadb))
    plan = {"plan": "professional", "payment_source": "tok_visa"}
    await owner.post(f"/stores/{store}/subscription", plan)
    discount = {"code": "TEN", "name": "Ten", "kind": "percent", "percent": "10"}
    await owner.post(f"/stores/{store}/discounts", discount)
    shared: dict[str, list[str]] = {"products": [], "orders": []}
    clients = [Client(owner, store, number, shared) for number in range(CLIENTS)]
    for _ in range(PRODUCTS):
        await clients[0].sell()
    async with asyncio.TaskGroup() as group:
        for client in clients:
            group.create_task(client.live())
    answers = sum((client.answers for client in clients), Counter[tuple[int, str | None]]())
    assert {code for _, code in answers if code is not None} <= EXPECTED, answers
    assert all(status < 500 for status, _ in answers), answers
    await site.stores.sweep_holds(older_than_s=0)
    await verify_books(site, store)


async def verify_books(site: Site, store: UUID) -> None:
    """The master has counted what the store has; goods are where the movements say."""
    async with site.platform.fleet.connection(TenantId(store)) as db:
        products = await db.fetch_value("select count(*) from products")
        orders = await db.fetch_value("select count(*) from orders")
        used = await db.fetch_value("select used_count from discounts")
        with_code = await db.fetch_value(
            "select count(*) from orders where discount_code = 'TEN' and state <> 'cancelled'"
        )
        wrong = await db.fetch_value(
            """select count(*) from inventory i where i.on_hand < 0 or i.on_hand <> (
                select sum(m.quantity) from inventory_movements m
                where m.product_id = i.product_id and m.location = i.location)"""
        )
    assert (int(wrong), used) == (0, with_code)
    sql = "select array[used, held] from usage_counters where store_id = $1 and metric = $2"
    assert await site.value(sql, store, "products") == [products, 0]
    assert await site.value(sql, store, "orders") == [orders, 0]
    days = "select sum(orders_created) from usage_metrics where store_id = $1"
    assert await site.value(days, store) == orders
