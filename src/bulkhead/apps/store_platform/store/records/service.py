"""Rows of a store, one table like the other; the same for every dialect."""

from __future__ import annotations

import functools
import operator
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import sqlalchemy as sa

from bulkhead.apps.store_platform.store.catalogue_tables import (
    CATEGORIES,
    INVENTORY,
    INVENTORY_MOVEMENTS,
    PRODUCT_CATEGORIES,
    PRODUCTS,
)
from bulkhead.engine.errors import Conflict, Invalid, NotFound
from bulkhead.engine.ids import new_id

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bulkhead.apps.store_platform.store.resources import Resource
    from bulkhead.engine.fleet.connection import TenantConnection

PAGE_BYTES_MAX: Final = 4_000_000
"""A page of long texts ends early, so that whoever lists a store holds up nobody else."""
PAGE_IDS: Final = 500
_PARENTS: Final = {
    CATEGORIES: CATEGORIES.c.parent_id,
    PRODUCTS: PRODUCTS.c.variant_of,
}
"""What makes a tree of the rows of a table."""

Row = dict[str, Any]


class StockTooSmall(Conflict):
    """There are not so many of product {product} at '{location}'."""

    code = "stock_too_small"


class ParentBelow(Invalid):
    """{key} would stand below itself with {column} {parent}."""

    code = "parent_below"
    hint = "Choose another one, or move that one first."


async def list_records(
    db: TenantConnection,
    resource: Resource,
    filters: Mapping[str, Any],
    *,
    after: UUID | None,
    limit: int,
) -> tuple[list[Row], UUID | None]:
    """A page of rows, the newest first, made before `after`; and its last where more may follow.

    It has `limit` rows, or fewer where more would be longer than `PAGE_BYTES_MAX`.
    """
    table = resource.table
    statement = sa.select(table).order_by(table.c.id.desc()).limit(limit)
    for name, value in filters.items():
        statement = statement.where(table.c[name] == value)
    if after is not None:
        statement = statement.where(table.c.id < after)
    if (size := _size_of(table)) is not None:
        sizes = await db.fetch(statement.with_only_columns(size.label("size")))
        fitting = count_fitting([row["size"] for row in sizes])
        limit = fitting if fitting < len(sizes) else limit
    rows = [dict(row) for row in await db.fetch(statement.limit(limit))]
    return rows, rows[-1]["id"] if len(rows) == limit else None


def count_fitting(sizes: Sequence[int], bytes_max: int = PAGE_BYTES_MAX) -> int:
    """How many rows of these sizes are a page: one at least, if there is one."""
    total = 0
    for number, size in enumerate(sizes):
        total += size
        if number and total > bytes_max:
            return number
    return len(sizes)


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
    """Change some columns of a row; raises NotFound, ParentBelow, and what constraints refuse."""
    column = _PARENTS.get(table)
    if column is not None and (parent := values.get(column.name)) is not None:
        await _verify_above(db, column, key, parent)
    if values:
        await db.execute(sa.update(table).where(table.c.id == key).values(**values))
    return await get_record(db, table, key)


async def count_products(db: TenantConnection) -> int:
    """How many products there are, variants among them."""
    counting = sa.select(sa.func.count().label("n")).select_from(PRODUCTS)
    return int(await db.fetch_value(counting))


async def delete_record(db: TenantConnection, table: sa.Table, key: UUID) -> bool:
    """Delete a row; False when there was none. Raises ForeignKeyViolated while it is needed."""
    return await db.execute(sa.delete(table).where(table.c.id == key)) > 0


async def list_family(db: TenantConnection, product: UUID, *, lock: bool = False) -> set[UUID]:
    """A product with its variants, and theirs; with `lock` no other comes before `db` commits.

    None of a product that there is not.
    """
    c = PRODUCTS.c
    family: set[UUID] = set()
    found = await db.fetch(_locking(sa.select(c.id).where(c.id == product), lock=lock))
    while found := [row["id"] for row in found if row["id"] not in family]:
        family.update(found)
        found, parents = [], found
        for at in range(0, len(parents), PAGE_IDS):
            of_page = sa.select(c.id).where(c.variant_of.in_(parents[at : at + PAGE_IDS]))
            found += await db.fetch(_locking(of_page.order_by(c.id), lock=lock))
    return family


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
    change = (
        sa.update(table)
        .where(table.c.product_id == product, table.c.location == location)
        .where(table.c.on_hand + quantity >= table.c.reserved)
        .values(on_hand=table.c.on_hand + quantity)
    )
    changed = await db.execute(change)
    if not changed and quantity < 0:
        # Nothing is locked here: whoever deletes the product may be waiting for us.
        await get_record(db, PRODUCTS, product)
        raise StockTooSmall(product=product, location=location)
    if not changed:
        await lock_product(db, product)
        changed = await db.execute(change)  # Others may have put the first ones there meanwhile.
    if not changed:
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


async def _verify_above(
    db: TenantConnection, column: sa.Column[Any], key: UUID, parent: UUID
) -> None:
    """Pass for a parent that does not stand below `key`; raises ParentBelow.

    Whatever stands above is locked on the way, so that of two that would stand below each other
    one waits, or gives way.
    """
    table, above, seen = column.table, parent, set[UUID]()
    statement = sa.select(column.label("above")).with_for_update()
    await db.fetch_one(statement.where(table.c.id == key))
    while above not in seen:
        if above == key:
            raise ParentBelow(column=column.name, parent=parent, key=key)
        seen.add(above)
        row = await db.fetch_one(statement.where(table.c.id == above))
        if row is None or row["above"] is None:
            return
        above = row["above"]


def _locking(statement: sa.Select[Any], *, lock: bool) -> sa.Select[Any]:
    return statement.with_for_update() if lock else statement


@functools.cache
def _size_of(table: sa.Table) -> sa.ColumnElement[int] | None:
    """How many bytes the columns without a length have in a row; None where there are none."""
    sizes: list[sa.ColumnElement[int]] = [
        sa.func.coalesce(sa.func.octet_length(sa.cast(column, sa.Text)), 0)
        for column in table.columns
        if isinstance(column.type, sa.Text | sa.JSON)
    ]
    return functools.reduce(operator.add, sizes) if sizes else None
