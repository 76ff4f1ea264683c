"""Days of a store, added up; the same statements for every dialect, with days of UTC."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

import sqlalchemy as sa

from bulkhead.apps.store_platform.store.sales_tables import ORDER_ITEMS, ORDERS
from bulkhead.engine.extract.portable import utc_now

if TYPE_CHECKING:
    from bulkhead.engine.fleet.connection import TenantConnection

PAGE_ROWS = 5000
ENDED = ("cancelled", "refunded")


@dataclass(frozen=True, slots=True)
class Day:
    """What was sold on a day, in one currency."""

    day: dt.date
    currency: str
    orders: int
    cancelled: int
    items: int
    revenue: Decimal
    customers: int


@dataclass(frozen=True, slots=True)
class Changes:
    """The days of which orders were changed, and up to when that was looked for."""

    days: tuple[dt.date, ...]
    until: dt.datetime


async def list_changes(
    db: TenantConnection, since: dt.datetime, *, page_rows: int = PAGE_ROWS
) -> Changes:
    """Days with orders that were changed since then, by the clock of the store.

    However many orders that are: a store that was loaded from an archive may have had all of them
    changed at once.
    """
    until: dt.datetime = await db.fetch_value(sa.select(utc_now().label("at")))
    c = ORDERS.c
    changed = sa.select(c.id, c.placed_at, c.updated_at).order_by(c.updated_at, c.id)
    changed = changed.limit(page_rows)
    days: set[dt.date] = set()
    page = changed.where(c.updated_at >= since)
    while True:
        rows = await db.fetch(page)
        days |= {row["placed_at"].astimezone(dt.UTC).date() for row in rows}
        if len(rows) < page_rows:
            return Changes(tuple(sorted(days)), until)
        at, order = rows[-1]["updated_at"], rows[-1]["id"]
        # Written so that MySQL, too, begins where the last page has ended.
        later = sa.or_(c.updated_at > at, c.id > order)
        page = changed.where(c.updated_at >= at, later)


async def measure_day(db: TenantConnection, day: dt.date) -> list[Day]:
    """What was sold on a day, by currency."""
    c = ORDERS.c
    start = dt.datetime.combine(day, dt.time(), dt.UTC)
    on_day = sa.and_(c.placed_at >= start, c.placed_at < start + dt.timedelta(days=1))
    counts = c.state.not_in(ENDED)
    rows = await db.fetch(
        sa.select(
            c.currency,
            sa.func.sum(sa.case((counts, 1), else_=0)).label("orders"),
            sa.func.sum(sa.case((counts, 0), else_=1)).label("cancelled"),
            sa.func.sum(sa.case((counts, c.total), else_=0)).label("revenue"),
            sa.func.count(sa.distinct(c.customer_id)).label("customers"),
        )
        .where(on_day)
        .group_by(c.currency)
    )
    items = await db.fetch(
        sa.select(c.currency, sa.func.sum(ORDER_ITEMS.c.quantity).label("items"))
        .join(ORDER_ITEMS, ORDER_ITEMS.c.order_id == c.id)
        .where(on_day, counts)
        .group_by(c.currency)
    )
    sold = {row["currency"]: int(row["items"]) for row in items}
    return [
        Day(
            day,
            row["currency"],
            int(row["orders"]),
            int(row["cancelled"]),
            sold.get(row["currency"], 0),
            Decimal(row["revenue"]),
            int(row["customers"]),
        )
        for row in rows
    ]
