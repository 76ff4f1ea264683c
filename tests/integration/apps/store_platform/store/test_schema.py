"""What a store's database takes and refuses is the same on every kind of server."""

import datetime as dt
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.sql import Executable
from tests.integration.engine.extract.subject import Subject

from bulkhead.apps.store_platform.store.catalogue_tables import (
    ATTRIBUTES,
    CATEGORIES,
    INVENTORY,
    PRICES,
    PRODUCT_ATTRIBUTES,
    PRODUCTS,
)
from bulkhead.apps.store_platform.store.content_tables import IDENTITY, SEO_SETTINGS, SETTINGS
from bulkhead.apps.store_platform.store.sales_tables import (
    CUSTOMERS,
    DISCOUNTS,
    ORDER_ITEMS,
    ORDERS,
)
from bulkhead.apps.store_platform.store.schema import METADATA
from bulkhead.engine.drivers.errors import PermissionDenied
from bulkhead.engine.errors import BulkheadError
from bulkhead.engine.extract.compare import create_missing
from bulkhead.engine.extract.extract import extract
from bulkhead.engine.fleet.statement import compiler_for
from bulkhead.engine.ids import new_id

PRODUCT: Mapping[str, Any] = {"sku": "A-1", "slug": "a-1", "name": "A"}
ORDER: Mapping[str, Any] = {
    "number": "1",
    "email": "a@example.org",
    "currency": "EUR",
    "items_total": Decimal("10.50"),
    "shipping_total": Decimal(5),
    "total": Decimal("15.50"),
    "shipping_address": {"city": "Köln"},
}


@pytest.fixture
async def store(subject: Subject) -> Subject:
    return await cleared(subject)


async def cleared(subject: Subject) -> Subject:
    """The store with all of its tables, and nothing in them."""
    extracted = extract(METADATA, subject.dialect, subject.options)
    await create_missing(subject.connection, extracted)
    for table in reversed(METADATA.sorted_tables):
        await run(subject, sa.delete(table))
    return subject


async def run(store: Subject, statement: Executable) -> list[Mapping[str, Any]]:
    compiled = compiler_for(store.dialect).compile(statement)
    ready = compiled.fill({})
    rows = await store.connection.fetch(ready.sql, ready.args, timeout_s=10)
    return list(compiled.convert(rows))


async def add(store: Subject, table: sa.Table, **values: Any) -> dict[str, Any]:
    if "id" in table.c:
        values.setdefault("id", new_id())
    await run(store, sa.insert(table).values(**values))
    return values


async def test_values_come_back_as_they_went_in(store: Subject) -> None:
    placed_at = dt.datetime(2026, 11, 26, 12, 0, 0, 123456, dt.timezone(dt.timedelta(hours=5)))
    order = await add(store, ORDERS, **ORDER, placed_at=placed_at)
    [found] = await run(store, sa.select(ORDERS).where(ORDERS.c.id == order["id"]))
    assert found["id"] == order["id"]
    assert found["placed_at"] == placed_at
    assert found["total"] == Decimal("15.50")
    assert found["shipping_address"] == {"city": "Köln"}
    assert found["customer_id"] is None
    assert found["state"] == "pending"
    now = dt.datetime.now(dt.UTC)  # noqa: TID251 - the server's own clock is compared
    assert abs(found["created_at"] - now) < dt.timedelta(minutes=5)


async def test_a_line_knows_its_total(store: Subject) -> None:
    order = await add(store, ORDERS, **ORDER)
    line = {"sku": "A-1", "name": "A", "unit_price": Decimal("3.50"), "quantity": 3}
    await add(store, ORDER_ITEMS, order_id=order["id"], line_number=1, **line)
    [found] = await run(store, sa.select(ORDER_ITEMS.c.line_total))
    assert found["line_total"] == Decimal("10.50")


async def test_a_change_is_noted_in_updated_at(store: Subject) -> None:
    product = await add(store, PRODUCTS, **PRODUCT)
    [before] = await run(store, sa.select(PRODUCTS.c.updated_at))
    where = PRODUCTS.c.id == product["id"]
    await run(store, sa.update(PRODUCTS).where(where).values(name="B"))
    [after] = await run(store, sa.select(PRODUCTS.c.updated_at, PRODUCTS.c.is_active))
    assert after["updated_at"] > before["updated_at"]
    assert after["is_active"] is True


async def test_texts_compare_as_they_are_written(store: Subject) -> None:
    await add(store, PRODUCTS, **PRODUCT)
    await add(store, PRODUCTS, **{**PRODUCT, "sku": "a-1", "slug": "a-2"})
    await add(store, PRODUCTS, **{**PRODUCT, "sku": "Ä-1", "slug": "a-3"})
    found = await run(store, sa.select(PRODUCTS.c.slug).where(PRODUCTS.c.sku == "a-1"))
    assert [row["slug"] for row in found] == ["a-2"]


async def test_a_store_belongs_to_one_tenant(store: Subject) -> None:
    await add(store, IDENTITY, tenant_id=new_id())
    with pytest.raises(BulkheadError):
        await add(store, IDENTITY, tenant_id=new_id())


REFUSED: list[tuple[sa.Table, dict[str, Any]]] = [
    (PRODUCTS, {**PRODUCT, "slug": "A 1"}),
    (PRODUCTS, {**PRODUCT, "slug": "a--1"}),
    (PRODUCTS, {**PRODUCT, "sku": ""}),
    (PRODUCTS, {**PRODUCT, "weight_grams": -1}),
    (PRODUCTS, {**PRODUCT, "variant_of": new_id()}),
    (CATEGORIES, {"slug": "a", "name": "A", "parent_id": new_id()}),
    (ATTRIBUTES, {"code": "Color", "name": "A", "kind": "text"}),
    (ATTRIBUTES, {"code": "color", "name": "A", "kind": "colour"}),
    (CUSTOMERS, {"email": "A@example.org"}),
    (CUSTOMERS, {"email": "a"}),
    (ORDERS, {**ORDER, "total": Decimal(15)}),
    (ORDERS, {**ORDER, "currency": "eur"}),
    (ORDERS, {**ORDER, "state": "lost"}),
    (ORDERS, {**ORDER, "items_total": Decimal(-1), "total": Decimal(4)}),
    (DISCOUNTS, {"name": "A", "kind": "percent"}),
    (DISCOUNTS, {"name": "A", "kind": "percent", "percent": Decimal(101)}),
    (DISCOUNTS, {"name": "A", "kind": "amount", "amount": Decimal(1)}),
    (DISCOUNTS, {"name": "A", "kind": "free_shipping", "used_count": 2, "total_limit": 1}),
    (SEO_SETTINGS, {"subject_kind": "product"}),
    (SEO_SETTINGS, {"subject_kind": "store", "store_wide": 2}),
    (SETTINGS, {"name": "A B", "value": {}}),
]


@pytest.mark.parametrize(("table", "values"), REFUSED)
async def test_what_makes_no_sense_is_refused(
    store: Subject, table: sa.Table, values: dict[str, Any]
) -> None:
    with pytest.raises(BulkheadError):
        await add(store, table, **values)
    assert await run(store, sa.select(table)) == []


async def test_no_amount_is_nan_or_negative(store: Subject) -> None:
    product = await add(store, PRODUCTS, **PRODUCT)
    price = {"product_id": product["id"], "currency": "EUR"}
    for amount in ("NaN", "Infinity", "-0.0001", "10000000000"):
        with pytest.raises(BulkheadError):
            await add(store, PRICES, **price, amount=Decimal(amount))
    await add(store, PRICES, **price, amount=Decimal("9999999999.9999"))
    assert len(await run(store, sa.select(PRICES))) == 1


async def test_no_more_is_promised_than_there_is(store: Subject) -> None:
    product = await add(store, PRODUCTS, **PRODUCT)
    await add(store, INVENTORY, product_id=product["id"], on_hand=3, reserved=3)
    with pytest.raises(BulkheadError):
        await run(store, sa.update(INVENTORY).values(reserved=INVENTORY.c.reserved + 1))


async def test_an_attribute_has_a_value_of_its_type(store: Subject) -> None:
    product = await add(store, PRODUCTS, **PRODUCT)
    attribute = await add(store, ATTRIBUTES, code="size", name="Size", kind="number")
    value = {"product_id": product["id"], "attribute_id": attribute["id"]}
    with pytest.raises(BulkheadError):
        await add(store, PRODUCT_ATTRIBUTES, **value, kind="text", text_value="L")
    with pytest.raises(BulkheadError):
        await add(store, PRODUCT_ATTRIBUTES, **value, kind="number", text_value="L")
    await add(store, PRODUCT_ATTRIBUTES, **value, kind="number", number_value=Decimal("1.5"))


async def test_orders_outlive_customers_and_products(store: Subject) -> None:
    customer = await add(store, CUSTOMERS, email="a@example.org")
    product = await add(store, PRODUCTS, **PRODUCT)
    order = await add(store, ORDERS, **ORDER, customer_id=customer["id"])
    line = {"sku": "A-1", "name": "A", "unit_price": Decimal(3), "quantity": 1}
    line |= {"order_id": order["id"], "line_number": 1, "product_id": product["id"]}
    await add(store, ORDER_ITEMS, **line)
    await run(store, sa.delete(CUSTOMERS))
    await run(store, sa.delete(PRODUCTS))
    [found] = await run(store, sa.select(ORDERS.c.customer_id, ORDERS.c.email))
    assert found == {"customer_id": None, "email": "a@example.org"}
    [found] = await run(store, sa.select(ORDER_ITEMS.c.product_id, ORDER_ITEMS.c.sku))
    assert found == {"product_id": None, "sku": "A-1"}


class TestClients:
    """Who reaches a store's database as `anon` or `authenticated`."""

    async def seen(self, store: Subject, table: sa.Table, role: str, user: object = None) -> int:
        claims = f'{{"sub": "{user}"}}' if user else ""
        connection = store.connection
        await connection.begin(read_only=False, timeout_s=10)
        try:
            # The session is a superuser's, who may be anybody.
            await store.run([f"set local session authorization {role}"])
            await connection.fetch(
                "select set_config('request.jwt.claims', $1, true)", (claims,), timeout_s=10
            )
            return len(await run(store, sa.select(table)))
        finally:
            await connection.rollback(timeout_s=10)

    @pytest.fixture
    async def shop(self, postgresql: Subject) -> Subject:
        return await cleared(postgresql)

    async def test_everybody_sees_what_is_shown(self, shop: Subject) -> None:
        shown = await add(shop, PRODUCTS, **PRODUCT)
        hidden = {**PRODUCT, "sku": "A-2", "slug": "a-2", "is_active": False}
        product = await add(shop, PRODUCTS, **hidden)
        for each in (shown, product):
            price = {"product_id": each["id"], "currency": "EUR", "amount": Decimal(1)}
            await add(shop, PRICES, **price)
        for role in ("anon", "authenticated"):
            assert await self.seen(shop, PRODUCTS, role) == 1
            assert await self.seen(shop, PRICES, role) == 1

    async def test_customers_see_their_own(self, shop: Subject) -> None:
        users = [new_id(), new_id()]
        for number, user in enumerate(users):
            email = f"{number}@example.org"
            customer = await add(shop, CUSTOMERS, email=email, user_id=user)
            order = {**ORDER, "number": str(number), "customer_id": customer["id"]}
            await add(shop, ORDERS, **order)
        await add(shop, ORDERS, **{**ORDER, "number": "guest"})
        for table in (CUSTOMERS, ORDERS):
            assert await self.seen(shop, table, "authenticated", users[0]) == 1
            assert await self.seen(shop, table, "authenticated", new_id()) == 0
            assert await self.seen(shop, table, "authenticated") == 0
            with pytest.raises(PermissionDenied):
                await self.seen(shop, table, "anon")

    @pytest.mark.parametrize("role", ["anon", "authenticated"])
    async def test_clients_write_nothing_and_see_nothing_inside(
        self, shop: Subject, role: str
    ) -> None:
        connection = shop.connection
        for table in METADATA.sorted_tables:
            name = f'public."{table.name}"'
            for privilege in ("insert", "update", "delete", "truncate", "references", "trigger"):
                [row] = await connection.fetch(
                    "select has_table_privilege($1, $2, $3) as granted",
                    (role, name, privilege),
                    timeout_s=10,
                )
                assert not row["granted"], (table.name, privilege)
        for table in (IDENTITY, INVENTORY, DISCOUNTS, SETTINGS):
            with pytest.raises(PermissionDenied):
                await self.seen(shop, table, role)
