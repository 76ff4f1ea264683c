"""Use cases of orders in a store's database; each within one transaction of it."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID

import sqlalchemy as sa

from bulkhead.apps.store_platform.store.catalogue_tables import PRICES, PRODUCTS
from bulkhead.apps.store_platform.store.records.service import move_stock
from bulkhead.apps.store_platform.store.sales.model import (
    EDGES,
    DiscountRefused,
    Line,
    OrderBody,
    OrderStuck,
    ProductUnsellable,
    Totals,
    add_up,
    check_discount,
    choose_price,
)
from bulkhead.apps.store_platform.store.sales_tables import (
    CUSTOMERS,
    DISCOUNTS,
    ORDER_ITEMS,
    ORDERS,
)
from bulkhead.engine.errors import NotFound
from bulkhead.engine.extract.portable import utc_now
from bulkhead.engine.ids import new_id
from bulkhead.engine.messaging.saga_errors import IdempotencyKeyReused

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bulkhead.engine.fleet.connection import TenantConnection

Row = dict[str, Any]
SHOWN = tuple(column for column in ORDERS.c if column.name != "request_hash")
STAMPS = {"confirmed": "confirmed_at", "shipped": "shipped_at", "delivered": "delivered_at"}


async def price_order(
    db: TenantConnection, body: OrderBody, currency: str, now: dt.datetime
) -> list[Line]:
    """The lines of an order at today's prices; raises ProductUnsellable."""
    wanted = body.quantities()
    products = await db.fetch(
        sa.select(PRODUCTS.c.id, PRODUCTS.c.sku, PRODUCTS.c.name, PRODUCTS.c.is_active).where(
            PRODUCTS.c.id.in_(list(wanted))
        )
    )
    prices = await db.fetch(
        sa.select(PRICES).where(
            PRICES.c.product_id.in_(list(wanted)), PRICES.c.currency == currency
        )
    )
    known = {row["id"]: row for row in products}
    lines = []
    for product, quantity in wanted.items():
        row = known.get(product)
        if row is None or not row["is_active"]:
            raise ProductUnsellable(product=product, reason="there is no such product")
        own = [price for price in prices if price["product_id"] == product]
        price = choose_price(own, quantity, now)
        if price is None:
            raise ProductUnsellable(product=product, reason=f"it has no price in {currency}")
        lines.append(Line(product, row["sku"], row["name"], price, quantity))
    return lines


async def place_order(
    db: TenantConnection,
    order: UUID,
    body: OrderBody,
    currency: str,
    now: dt.datetime,
    *,
    key: str | None,
) -> Decimal:
    """Write an order, take its goods out of stock, and return its total.

    Raises ProductUnsellable, StockTooSmall, DiscountRefused, and UniqueViolated when the order is
    there already.
    """
    lines = await price_order(db, body, currency, now)
    customer = await _ensure_customer(db, body)
    items = sum((line.total for line in lines), Decimal(0))
    discount = await _take_discount(db, body, customer, items, currency, now)
    totals = add_up(lines, body, discount)
    await db.execute(sa.insert(ORDERS).values(_order(order, body, customer, currency, totals, key)))
    if discount is not None:
        values = {"discount_id": discount["id"], "discount_code": discount["code"]}
        await db.execute(sa.update(ORDERS).where(ORDERS.c.id == order).values(**values))
    for number, line in enumerate(lines, start=1):
        await db.execute(
            sa.insert(ORDER_ITEMS).values(
                order_id=order,
                line_number=number,
                product_id=line.product,
                sku=line.sku,
                name=line.name,
                unit_price=line.unit_price,
                quantity=line.quantity,
            )
        )
    for line in lines:
        await move_stock(db, line.product, -line.quantity, kind="sale", order=order)
    return totals.total


async def find_request(db: TenantConnection, order: UUID) -> tuple[str | None] | None:
    """The hash of the request that placed an order; None when there is no such order.

    Orders without a key have no hash, and those from before version 0002 of the schema.
    """
    c = ORDERS.c
    row = await db.fetch_one(sa.select(c.request_hash).where(c.id == order))
    return None if row is None else (row["request_hash"],)


async def is_placed(db: TenantConnection, order: UUID, request: str | None) -> bool:
    """Whether a request was carried out before; raises IdempotencyKeyReused when another was."""
    found = await find_request(db, order)
    if found is not None and None not in (request, *found) and found != (request,):
        raise IdempotencyKeyReused
    return found is not None


async def get_order(db: TenantConnection, order: UUID) -> Row:
    """An order with its items; raises NotFound."""
    row = await db.fetch_one(sa.select(*SHOWN).where(ORDERS.c.id == order))
    if row is None:
        raise NotFound(what=f"Order {order}")
    items = await db.fetch(
        sa.select(ORDER_ITEMS)
        .where(ORDER_ITEMS.c.order_id == order)
        .order_by(ORDER_ITEMS.c.line_number)
    )
    return {**row, "items": [dict(item) for item in items]}


async def list_orders(
    db: TenantConnection,
    *,
    state: str | None,
    before: tuple[dt.datetime, UUID] | None,
    limit: int,
) -> list[Row]:
    """A page of orders without their items, the newest first, of those placed before."""
    c = ORDERS.c
    statement = sa.select(*SHOWN).order_by(c.placed_at.desc(), c.id.desc()).limit(limit)
    if state is not None:
        statement = statement.where(c.state == state)
    if before is not None:
        placed_at, order = before
        statement = statement.where(
            sa.or_(c.placed_at < placed_at, sa.and_(c.placed_at == placed_at, c.id < order))
        )
    return [dict(row) for row in await db.fetch(statement)]


async def move_order(db: TenantConnection, order: UUID, wanted: str) -> None:
    """Let an order move on; what was cancelled goes back into stock.

    Repeatable. Raises NotFound, OrderStuck.
    """
    c = ORDERS.c
    row = await db.fetch_one(
        sa.select(c.state, c.discount_id).where(c.id == order).with_for_update()
    )
    if row is None:
        raise NotFound(what=f"Order {order}")
    if row["state"] == wanted:
        return
    if wanted not in EDGES[row["state"]]:
        raise OrderStuck(state=row["state"], wanted=wanted)
    stamp = STAMPS.get(wanted, "ended_at")
    await db.execute(
        sa.update(ORDERS).where(c.id == order).values(state=wanted, **{stamp: utc_now()})
    )
    if wanted == "cancelled":
        await _take_back(db, order, row["discount_id"])


async def _take_back(db: TenantConnection, order: UUID, discount: UUID | None) -> None:
    """The discount first and then the goods by their ids, as `place_order` locks them."""
    if discount is not None:
        used = DISCOUNTS.c.used_count
        await db.execute(
            sa.update(DISCOUNTS)
            .where(DISCOUNTS.c.id == discount, used > 0)
            .values(used_count=used - 1)
        )
    items = await db.fetch(
        sa.select(ORDER_ITEMS.c.product_id, ORDER_ITEMS.c.quantity)
        .where(ORDER_ITEMS.c.order_id == order)
        .order_by(ORDER_ITEMS.c.product_id)
    )
    for item in items:
        if item["product_id"] is not None:
            await move_stock(db, item["product_id"], item["quantity"], kind="return", order=order)


async def _ensure_customer(db: TenantConnection, body: OrderBody) -> UUID:
    """The customer with the e-mail address, locked; made when there is none."""
    email = body.email.lower()
    statement = sa.select(CUSTOMERS.c.id).where(CUSTOMERS.c.email == email).with_for_update()
    row = await db.fetch_one(statement)
    if row is not None:
        return UUID(str(row["id"]))
    customer = new_id()
    await db.execute(sa.insert(CUSTOMERS).values(id=customer, email=email, name=body.name))
    return customer


async def _take_discount(
    db: TenantConnection,
    body: OrderBody,
    customer: UUID,
    items: Decimal,
    currency: str,
    now: dt.datetime,
) -> Mapping[str, Any] | None:
    if body.discount_code is None:
        return None
    c = DISCOUNTS.c
    row = await db.fetch_one(
        sa.select(DISCOUNTS).where(c.code == body.discount_code.upper()).with_for_update()
    )
    check_discount(row, items, currency, now)
    assert row is not None, "what was checked is there"
    if row["total_limit"] is not None and row["used_count"] >= row["total_limit"]:
        raise DiscountRefused(reason="it was used up")
    if row["per_customer_limit"] is not None:
        used = await db.fetch_value(
            sa.select(sa.func.count()).where(
                ORDERS.c.customer_id == customer,
                ORDERS.c.discount_id == row["id"],
                ORDERS.c.state != "cancelled",
            )
        )
        if used >= row["per_customer_limit"]:
            raise DiscountRefused(reason="the customer has used it before")
    await db.execute(
        sa.update(DISCOUNTS).where(c.id == row["id"]).values(used_count=c.used_count + 1)
    )
    return row


def _order(
    order: UUID,
    body: OrderBody,
    customer: UUID,
    currency: str,
    totals: Totals,
    key: str | None,
) -> Row:
    return {
        "id": order,
        "number": f"S{order.hex[-10:].upper()}",
        "customer_id": customer,
        "email": body.email,
        "currency": currency,
        "items_total": totals.items,
        "discount_total": totals.discount,
        "tax_total": totals.tax,
        "shipping_total": totals.shipping,
        "total": totals.total,
        "shipping_address": body.shipping_address,
        "customer_note": body.note,
        "idempotency_key": key,
        "request_hash": body.hash if key is not None else None,
    }
