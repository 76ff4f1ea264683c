"""Roll-ups in the master: days are written anew as a whole, so that a repeat changes nothing."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from uuid import UUID

from bulkhead.engine.connections.queries import load_queries

if TYPE_CHECKING:
    from bulkhead.apps.store_platform.master.intelligence.model import DayOfSales
    from bulkhead.engine.connections.transaction import Transaction

QUERIES = load_queries(__package__)
FIRST = UUID(int=0)
PAGE_MAX = 200
DAYS_ANEW = 3
MONTHS_ANEW = 2


async def list_stores(db: Transaction, after: UUID = FIRST) -> list[UUID]:
    """A page of the stores whose database can be read, by id."""
    return [row["id"] for row in await db.fetch(QUERIES.list_stores, after, PAGE_MAX)]


async def get_read_until(tx: Transaction, store: UUID) -> dt.datetime:
    """Up to which instant of its clock a store is rolled up."""
    instant: dt.datetime = await tx.fetchval(QUERIES.ensure_state, store)
    return instant


async def write_days(
    tx: Transaction,
    store: UUID,
    days: Sequence[dt.date],
    sales: Sequence[DayOfSales],
    *,
    read_from: dt.datetime,
    read_until: dt.datetime,
) -> bool:
    """Write what is known of `days`, and that the store was read until then: both or neither.

    False, with nothing written, when somebody else has rolled the store up since `read_from`, who
    may have seen more.
    """
    if await tx.fetchrow(QUERIES.advance_state, store, read_from, read_until) is None:
        return False
    await tx.execute(QUERIES.clear_days, store, list(days))
    if sales:
        await tx.execute(
            QUERIES.add_days,
            store,
            [each.day for each in sales],
            [each.currency for each in sales],
            [each.orders for each in sales],
            [each.cancelled for each in sales],
            [each.items for each in sales],
            [each.revenue for each in sales],
            [each.customers for each in sales],
        )
    return True


async def begin_anew(tx: Transaction, store: UUID) -> None:
    """Forget the days of a store, to be rolled up from its first order on."""
    await tx.execute(QUERIES.forget_days, store)
    await tx.execute(QUERIES.forget_state, store)


async def note_failure(tx: Transaction, store: UUID, failure: str) -> None:
    """Note that a store could not be read; it is tried again the next time."""
    await tx.execute(QUERIES.note_failure, store, failure)


async def sum_up(tx: Transaction) -> None:
    """Write the statistics of the last days and months of the whole platform anew."""
    await tx.execute(QUERIES.sum_usage, DAYS_ANEW)
    await tx.execute(QUERIES.sum_performance, DAYS_ANEW)
    await tx.execute(QUERIES.sum_revenue, MONTHS_ANEW)


async def list_analytics(db: Transaction, store: UUID, days: int) -> list[dict[str, Any]]:
    """What a store sold on each of the last days."""
    return [dict(row) for row in await db.fetch(QUERIES.list_analytics, store, days)]


async def list_performance(db: Transaction, store: UUID, days: int) -> list[dict[str, Any]]:
    """How fast the API of a store answered on each of the last days."""
    return [dict(row) for row in await db.fetch(QUERIES.list_performance, store, days)]


async def list_revenue(db: Transaction, months: int) -> list[dict[str, Any]]:
    """What the platform invoiced by month and plan."""
    return [dict(row) for row in await db.fetch(QUERIES.list_revenue, months)]


async def list_statistics(db: Transaction, days: int) -> list[dict[str, Any]]:
    """What all stores used by day."""
    return [dict(row) for row in await db.fetch(QUERIES.list_statistics, days)]
