"""What touches the master and the database of a store: writes that a plan limits, and roll-ups.

There is no transaction over both. What a plan limits is held in the master first, then written in
the store, then settled in the master. Whoever dies in between leaves a hold; a sweep looks whether
the row is in the store and settles or releases it, so that nothing is counted twice or forgotten.
Attempts at the same have one hold between them, which is remembered for a while when it is settled:
whoever comes late finds that it was counted.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID

from bulkhead.apps.store_platform.master.intelligence import service as intelligence
from bulkhead.apps.store_platform.master.intelligence.model import DayOfSales
from bulkhead.apps.store_platform.master.metering import service as metering
from bulkhead.apps.store_platform.master.metering.model import Hold, Metric
from bulkhead.apps.store_platform.store.catalogue_tables import PRODUCTS
from bulkhead.apps.store_platform.store.figures.service import Changes, list_changes, measure_day
from bulkhead.apps.store_platform.store.records.service import (
    add_record,
    count_products,
    delete_record,
    get_record,
    has_record,
    list_family,
)
from bulkhead.apps.store_platform.store.sales import service as sales
from bulkhead.engine import clock, failpoints
from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.drivers.errors import (
    CommitUnknown,
    SerializationFailed,
    UniqueViolated,
    is_connection_loss,
)
from bulkhead.engine.errors import BulkheadError, Unavailable
from bulkhead.engine.fleet.model import TenantId
from bulkhead.engine.ids import derive_id

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bulkhead.apps.store_platform.store.sales.model import OrderBody
    from bulkhead.engine.connections.database import OpenDatabase
    from bulkhead.engine.fleet.connection import TenantConnection
    from bulkhead.engine.fleet.fleet import Fleet

OVERLAP = dt.timedelta(minutes=5)
"""Longer than any transaction of a store: a change may be committed later than it says it is."""
TRIES_MAX = 3
WRITE_TIMEOUT_S = metering.STALE_S / 4
HELD = failpoints.register("store.write:held")
WRITTEN = failpoints.register("store.write:written")
READ = failpoints.register("rollup:read")
SWEPT = (Metric.PRODUCTS, Metric.ORDERS)
"""What is in the database of the store or not; files are looked after in `media.py`."""

Row = dict[str, Any]


class StoreSlow(Unavailable):
    """The database of the store took longer than {timeout_s} s for a write."""

    code = "store_slow"
    retry_after_s = 10


@asynccontextmanager
async def bounded() -> AsyncIterator[None]:
    """A write within the block ends well before anybody looks what became of it.

    Raises StoreSlow.
    """
    try:
        async with asyncio.timeout(WRITE_TIMEOUT_S):
            yield
    except TimeoutError:
        raise StoreSlow(timeout_s=WRITE_TIMEOUT_S) from None


def may_be_written(error: BulkheadError) -> bool:
    """Whether nobody knows what became of the write that `error` ended: the sweep looks later."""
    return isinstance(error, CommitUnknown | StoreSlow) or is_connection_loss(error)


@dataclass(frozen=True, slots=True)
class Stores:
    """The master and the fleet, for what needs both."""

    master: OpenDatabase
    fleet: Fleet

    async def add_product(self, store: UUID, product: UUID, values: Mapping[str, Any]) -> Row:
        """Add a product; raises PlanLimitReached, and what constraints refuse."""
        wish = Hold(derive_id("product+", store, product), store, Metric.PRODUCTS, 1, product)
        await self._hold(wish)
        try:
            async with bounded(), self.fleet.transaction(TenantId(store)) as db:
                row = await add_record(db, PRODUCTS, product, values)
        except BulkheadError as error:
            await self._give_up(wish, error)
            raise
        await self._settle(wish)
        return row

    async def delete_product(self, store: UUID, product: UUID) -> None:
        """Delete a product with its variants, each of which counted.

        Raises NotFound, and ForeignKeyViolated while it is needed.
        """
        tenant = TenantId(store)
        async with self.fleet.connection(tenant) as db:
            await get_record(db, PRODUCTS, product)
            fresh = await list_family(db, product)
        wishes: dict[UUID, Hold] = {}
        while fresh:
            made = {it: _deletion(store, it) for it in sorted(fresh)}
            wishes |= made
            await self._hold(*made.values())
            try:
                async with bounded():
                    fresh = await self._delete_product(tenant, product, wishes.keys())
            except BulkheadError as error:
                for wish in wishes.values():
                    await self._give_up(wish, error)
                raise
        await self._settle(*wishes.values())

    async def place_order(
        self, store: UUID, order: UUID, body: OrderBody, currency: str, key: str | None
    ) -> Row:
        """Place an order, or find the one that was placed under the same id.

        With a key another request than the first one is refused. Raises PlanLimitReached,
        ProductUnsellable, StockTooSmall, DiscountRefused, IdempotencyKeyReused.
        """
        tenant, request = TenantId(store), body.hash if key is not None else None
        async with self.fleet.connection(tenant) as db:
            if await sales.is_placed(db, order, request):
                return await sales.get_order(db, order)
            # The total is known before anything is held, so that it is counted with the order.
            lines = await sales.price_order(db, body, currency, clock.now())
        value = sum((line.total for line in lines), Decimal(0))
        wish = Hold(_order_hold(order, request), store, Metric.ORDERS, 1, order, value)
        await self._hold(wish)
        try:
            async with bounded():
                await self._write_order(tenant, order, body, currency, key)
        except BulkheadError as error:
            await self._give_up(wish, error)
            raise
        await self._settle(wish)
        async with self.fleet.connection(tenant) as db:
            return await sales.get_order(db, order)

    async def sweep_holds(self, older_than_s: float = metering.STALE_S) -> int:
        """Settle or release what whoever held it has forgotten; stores that are away wait."""
        async with self.master.transaction(SERVICE) as tx:
            stale = await metering.take_stale(tx, SWEPT, older_than_s)
        ended = 0
        for wish in stale:
            try:
                await self._end(wish)
            except BulkheadError:
                continue
            ended += 1
        return ended

    async def recount_products(self, store: UUID, as_of: dt.datetime) -> bool:
        """Count the products of a store whose number is in doubt; False when some come or go."""
        async with self.fleet.connection(TenantId(store)) as db:
            products = await count_products(db)
        async with self.master.transaction(SERVICE) as tx:
            return await metering.set_counted(tx, store, products, as_of=as_of)

    async def roll_up(self, store: UUID) -> bool:
        """Write the days of a store anew whose orders have changed; False when others just did."""
        async with self.master.transaction(SERVICE) as tx:
            read_from = await intelligence.get_read_until(tx, store)
        try:
            changes, days = await self._read_days(store, read_from - OVERLAP)
        except BulkheadError as error:
            async with self.master.transaction(SERVICE) as tx:
                await intelligence.note_failure(tx, store, f"{error.code}: {error.message}")
            raise
        await failpoints.reach(READ)
        async with self.master.transaction(SERVICE) as tx:
            return await intelligence.write_days(
                tx, store, changes.days, days, read_from=read_from, read_until=changes.until
            )

    async def _read_days(self, store: UUID, since: dt.datetime) -> tuple[Changes, list[DayOfSales]]:
        days: list[DayOfSales] = []
        async with self.fleet.transaction(TenantId(store), read_only=True) as db:
            changes = await list_changes(db, since)
            for day in changes.days:
                days += [_day(each) for each in await measure_day(db, day)]
        return changes, days

    async def _delete_product(
        self, tenant: TenantId, product: UUID, held: Collection[UUID]
    ) -> set[UUID]:
        """Delete it, if all its variants are held; else return the others.

        What belongs to a product goes with it, which may cross with orders of it.
        """
        for _ in range(TRIES_MAX - 1):
            with suppress(SerializationFailed):
                return await self._delete_family(tenant, product, held)
        return await self._delete_family(tenant, product, held)

    async def _delete_family(
        self, tenant: TenantId, product: UUID, held: Collection[UUID]
    ) -> set[UUID]:
        async with self.fleet.transaction(tenant) as db:
            others = await list_family(db, product, lock=True) - set(held)
            if not others:
                await delete_record(db, PRODUCTS, product)
            return others

    async def _write_order(
        self, tenant: TenantId, order: UUID, body: OrderBody, currency: str, key: str | None
    ) -> None:
        for attempt in range(TRIES_MAX):
            try:
                async with self.fleet.transaction(tenant) as db:
                    request = body.hash if key is not None else None
                    if not await sales.is_placed(db, order, request):
                        await sales.place_order(db, order, body, currency, clock.now(), key=key)
            except (UniqueViolated, SerializationFailed):
                # The same order, or the first one of the same customer, came in between.
                if attempt == TRIES_MAX - 1:
                    raise
            else:
                return

    async def _hold(self, *wishes: Hold) -> None:
        async with self.master.transaction(SERVICE) as tx:
            for wish in wishes:
                await metering.hold(tx, wish, clock.now().date())
        await failpoints.reach(HELD)

    async def _settle(self, *wishes: Hold) -> None:
        await failpoints.reach(WRITTEN)
        async with self.master.transaction(SERVICE) as tx:
            await metering.settle(tx, [wish.id for wish in wishes])

    async def _give_up(self, wish: Hold, error: BulkheadError) -> None:
        """Give back what was held, unless nobody knows whether it was written."""
        if may_be_written(error):
            return
        with suppress(BulkheadError):  # The sweep looks again.
            await self._end(wish)

    async def _end(self, wish: Hold) -> None:
        """Settle or release a hold by what is in the store."""
        async with self.fleet.connection(TenantId(wish.store)) as db:
            is_there = await _is_there(db, wish)
        async with self.master.transaction(SERVICE) as tx:
            if is_there == (wish.amount > 0):
                await metering.settle(tx, [wish.id])
            else:
                await metering.release(tx, wish)


async def _is_there(db: TenantConnection, wish: Hold) -> bool:
    if wish.metric is not Metric.ORDERS:
        return await has_record(db, PRODUCTS, wish.subject)
    found = await sales.find_request(db, wish.subject)
    return found is not None and _order_hold(wish.subject, *found) == wish.id


def _deletion(store: UUID, product: UUID) -> Hold:
    return Hold(derive_id("product-", store, product), store, Metric.PRODUCTS, -1, product)


def _order_hold(order: UUID, request: str | None) -> UUID:
    """The hold of an order: requests that differ have one each, and one of them comes about."""
    return derive_id("order+", order) if request is None else derive_id("order+", order, request)


def _day(found: Any) -> DayOfSales:  # noqa: ANN401 - the store's own kind of day
    return DayOfSales(
        found.day,
        found.currency,
        found.orders,
        found.cancelled,
        found.items,
        found.revenue,
        found.customers,
    )
