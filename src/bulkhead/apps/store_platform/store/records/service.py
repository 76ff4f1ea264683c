"""Rows of a store, one table like the other; the same for every dialect."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

import sqlalchemy as sa

from bulkhead.apps.store_platform.store.catalogue_tables import (
    INVENTORY,
    INVENTORY_MOVEMENTS,
    PRODUCT_CATEGORIES,
    PRODUCTS,
)
from bulkhead.engine.errors import Conflict, NotFound
from bulkhead.engine.ids import new_id

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bulkhead.apps.store_platform.store.resources import Resource
    from bulkhead.engine.fleet.connection import TenantConnection

Row = dict[str, Any]


class StockTooSmall(Conflict):
    """There are not so many of product {product} at '{location}'."""

    code = "stock_too_small"


async def list_records(
    db: TenantConnection,
    resource: Resource,
    filters: Mapping[str, Any],
    *,
    after: UUID | None,
    limit: int,
) -> list[Row]:
    """A page of rows, the newest first, of those made before `after`."""
    table = resource.table
    statement = sa.select(table).order_by(table.c.id.desc()).limit(limit)
    for name, value in filters.items():
        statement = statement.where(table.c[name] == value)
    if after is not None:
        statement = statement.where(table.c.id < after)
    return [dict(row) for row in await db.fetch(statement)]


async def get_record(db: TenantConnection, table: sa.Table, key: UUID) -> Row:
    """One row; raises NotFound."""
    row = await db.fetch_one(sa.select(table).where(table.c.id == key))
    if row is None:
        raise NotFound(what=f"{table.name.replace('_', ' ').capitalize()} {key}")
    return dict(row)


async def has_record(db: TenantConnection, table: sa.Table, key: UUID) -> bool:
    """Whether there is such a row."""
    return await db.fetch_one(sa.select(table.c.id).where(table.c.id == key)) is not None


async def add_record(
    db: TenantConnection, table: sa.Table, key: UUID, values: Mapping[str, Any]
) -> Row:
    """Add a row under the id `key`; raises what constraints refuse."""
    await db.execute(sa.insert(table).values(id=key, **values))
    return await get_record(db, table, key)


async def change_record(
    db: TenantConnection, table: sa.Table, key: UUID, values: Mapping[str, Any]
) -> Row:
    """Change some columns of a row; raises NotFound, and what constraints refuse."""
    if values:
        await db.execute(sa.update(table).where(table.c.id == key).values(**values))
    return await get_record(db, table, key)


async def delete_record(db: TenantConnection, table: sa.Table, key: UUID) -> bool:
    """Delete a row; False when there was none. Raises ForeignKeyViolated while it is needed."""
    return await db.execute(sa.delete(table).where(table.c.id == key)) > 0


async def set_categories(db: TenantConnection, product: UUID, categories: Sequence[UUID]) -> None:
    """Let a product stand in just these categories; raises NotFound, ForeignKeyViolated."""
    await lock_product(db, product)
    table = PRODUCT_CATEGORIES
    await db.execute(sa.delete(table).where(table.c.product_id == product))
    for position, category in enumerate(dict.fromkeys(categories)):
        await db.execute(
            sa.insert(table).values(product_id=product, category_id=category, position=position)
        )


async def list_categories(db: TenantConnection, product: UUID) -> list[UUID]:
    """The categories of a product, in their order."""
    table = PRODUCT_CATEGORIES
    statement = sa.select(table.c.category_id).where(table.c.product_id == product)
    rows = await db.fetch(statement.order_by(table.c.position))
    return [row["category_id"] for row in rows]


async def list_stock(db: TenantConnection, product: UUID) -> list[Row]:
    """How many of a product are where."""
    table = INVENTORY
    statement = sa.select(table).where(table.c.product_id == product).order_by(table.c.location)
    return [dict(row) for row in await db.fetch(statement)]


async def move_stock(  # noqa: PLR0913
    db: TenantConnection,
    product: UUID,
    quantity: int,
    *,
    kind: str,
    location: str = "main",
    note: str | None = None,
    order: UUID | None = None,
) -> None:
    """Put `quantity` of a product into stock, or take so many out when it is below zero.

    Raises NotFound, and StockTooSmall where there are not so many that nobody was promised.
    """
    table = INVENTORY
    at = sa.and_(table.c.product_id == product, table.c.location == location)
    changed = await db.execute(
        sa.update(table)
        .where(at, table.c.on_hand + quantity >= table.c.reserved)
        .values(on_hand=table.c.on_hand + quantity)
    )
    if not changed:
        await lock_product(db, product)
        known = await db.fetch_one(sa.select(table.c.on_hand).where(at))
        if known is not None or quantity < 0:
            raise StockTooSmall(product=product, location=location)
        await db.execute(
            sa.insert(table).values(product_id=product, location=location, on_hand=quantity)
        )
    await db.execute(
        sa.insert(INVENTORY_MOVEMENTS).values(
            id=new_id(),
            product_id=product,
            location=location,
            quantity=quantity,
            kind=kind,
            order_id=order,
            note=note,
        )
    )


async def lock_product(db: TenantConnection, product: UUID) -> None:
    """Keep others from changing what belongs to a product; raises NotFound."""
    statement = sa.select(PRODUCTS.c.id).where(PRODUCTS.c.id == product).with_for_update()
    if await db.fetch_one(statement) is None:
        raise NotFound(what=f"Product {product}")
