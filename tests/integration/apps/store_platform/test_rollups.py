"""What the platform knows of stores is right after late data, crashes, and several at once."""

import asyncio
import datetime as dt
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa
from mariadb_server import MariadbServer
from tests.integration.apps.store_platform.mariadb import make_mariadb, open_mariadb_store
from tests.integration.apps.store_platform.platform import Caller, Site, open_site
from tests.integration.engine.fleet.stalled import stalled

from bulkhead.apps.store_platform.jobs import recount_products, roll_up_stores
from bulkhead.apps.store_platform.master.intelligence.service import begin_anew, get_read_until
from bulkhead.apps.store_platform.master.metering.service import list_doubted
from bulkhead.apps.store_platform.store.catalogue_tables import PRICES
from bulkhead.apps.store_platform.store.figures.service import list_changes
from bulkhead.apps.store_platform.store.records.service import add_record, move_stock
from bulkhead.apps.store_platform.store.sales.model import LineBody, OrderBody
from bulkhead.apps.store_platform.store.sales_tables import ORDERS
from bulkhead.apps.store_platform.views import READ
from bulkhead.engine.clock import now
from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.failpoints import FailpointReached
from bulkhead.engine.fleet.model import TenantId
from bulkhead.engine.ids import new_id
from bulkhead.engine.testing import TestServers, crash_at

REPORTS = """
insert into revenue_reports (month, plan_name, currency)
select date_trunc('month', now() at time zone 'UTC') - make_interval(months => m), p, 'USD'
from generate_series(0, 3) m, unnest(array['starter', 'professional', 'enterprise']) p
on conflict do nothing
"""
"""Months with several plans each."""


@pytest.fixture(scope="module")
async def site(
    servers: TestServers, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Site]:
    home: Path = tmp_path_factory.mktemp("home")
    async with open_site(servers, home) as site:
        yield site


@pytest.fixture
async def owner(site: Site) -> Caller:
    return await site.caller()


@pytest.fixture
async def store(site: Site, owner: Caller) -> UUID:
    return await site.open_store(owner)


async def goods(site: Site, store: UUID) -> UUID:
    key = new_id()
    values = {"sku": key.hex, "slug": key.hex, "name": "Lamp"}
    await site.stores.add_product(store, key, values)
    async with site.platform.fleet.transaction(TenantId(store)) as db:
        price = {"product_id": key, "currency": "USD", "amount": 10}
        await add_record(db, PRICES, new_id(), price)
        await move_stock(db, key, 100, kind="receipt")
    return key


async def order(site: Site, store: UUID, product: UUID, quantity: int = 1) -> UUID:
    line = LineBody(product_id=product, quantity=quantity)
    key = new_id()
    body = OrderBody(email="ada@example.com", lines=[line])
    await site.stores.place_order(store, key, body, "USD", None)
    return key


async def days(owner: Caller, store: UUID) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await owner.get(f"/stores/{store}/analytics"))["days"]
    return found


async def test_a_day_is_added_up_and_a_repeat_changes_nothing(
    site: Site, owner: Caller, store: UUID
) -> None:
    product = await goods(site, store)
    await order(site, store, product, 2)
    await order(site, store, product, 3)
    for _ in range(3):
        await site.stores.roll_up(store)
        [day] = await days(owner, store)
        assert (day["orders"], day["items_sold"], day["revenue"]) == (2, 5, "50.00")
        assert (day["average_order_value"], day["customers"]) == ("25.00", 1)


@pytest.mark.parametrize("begins", [False, True])
async def test_what_was_read_before_other_rows_came_is_not_written(
    site: Site, owner: Caller, store: UUID, *, begins: bool
) -> None:
    await order(site, store, await goods(site, store))
    async with stalled(READ, site.stores.roll_up(store)) as rolling:
        async with site.platform.fleet.transaction(TenantId(store)) as db:
            await db.execute("delete from orders")
        async with site.platform.master.transaction(SERVICE) as tx:
            await begin_anew(tx, store)
            if begins:
                await get_read_until(tx, store)
    assert await rolling is False
    assert await days(owner, store) == []


async def test_what_comes_late_or_is_cancelled_corrects_its_own_day(
    site: Site, owner: Caller, store: UUID
) -> None:
    product = await goods(site, store)
    first = await order(site, store, product)
    await site.stores.roll_up(store)
    late = await order(site, store, product, 4)
    yesterday = dt.timedelta(days=1)
    async with site.platform.fleet.transaction(TenantId(store)) as db:
        await db.execute("update orders set placed_at = placed_at - $2::interval where id = $1",
                         [late, yesterday])  # fmt: skip
    await site.stores.roll_up(store)
    today, before = await days(owner, store)
    assert (today["revenue"], before["revenue"]) == ("10.00", "40.00")
    await owner.post(f"/stores/{store}/orders/{first}/state", {"state": "cancelled"})
    await site.stores.roll_up(store)
    today, before = await days(owner, store)
    assert (today["orders"], today["orders_cancelled"], today["revenue"]) == (0, 1, "0.00")
    assert before["revenue"] == "40.00"


@pytest.mark.parametrize("kind", ["postgresql", "mysql"])
async def test_many_orders_that_were_changed_at_once_are_all_seen(
    site: Site, owner: Caller, mariadb: MariadbServer, kind: str
) -> None:
    if kind == "postgresql":
        store = await site.open_store(owner)
    else:
        store, _ = await open_mariadb_store(site, owner, await make_mariadb(mariadb))
    product = await goods(site, store)
    changed_at = now().replace(hour=12, minute=0, second=0, microsecond=5) - dt.timedelta(days=20)
    first_at = changed_at.replace(hour=23, minute=59, second=59, microsecond=999_999)
    first_at -= dt.timedelta(days=19)
    expected = []
    for number in range(7):
        made = await order(site, store, product)
        placed_at = first_at + dt.timedelta(days=number)
        expected.append(placed_at.date())
        async with site.platform.fleet.transaction(TenantId(store)) as db:
            at = {"placed_at": placed_at, "updated_at": changed_at}
            await db.execute(sa.update(ORDERS).where(ORDERS.c.id == made).values(**at))
    for rows in (1, 3, 7, 8):
        async with site.platform.fleet.transaction(TenantId(store), read_only=True) as db:
            seen = await list_changes(db, changed_at, page_rows=rows)
            later = await list_changes(db, seen.until, page_rows=rows)
        assert seen.days == tuple(expected)
        assert later.days == ()
    await site.stores.roll_up(store)
    found = await owner.get(f"/stores/{store}/analytics?days=60")
    assert sum(day["orders"] for day in found["days"]) == 7


async def test_a_crash_between_reading_and_writing_loses_nothing(
    site: Site, owner: Caller, store: UUID
) -> None:
    await order(site, store, await goods(site, store))
    with crash_at(READ), pytest.raises(FailpointReached):
        await site.stores.roll_up(store)
    assert await days(owner, store) == []
    await site.stores.roll_up(store)
    assert [day["orders"] for day in await days(owner, store)] == [1]


async def test_of_several_at_once_the_slow_one_overwrites_nothing(
    site: Site, owner: Caller, store: UUID
) -> None:
    await order(site, store, await goods(site, store))
    tasks = [asyncio.create_task(site.stores.roll_up(store)) for _ in range(5)]
    await asyncio.wait(tasks)
    assert any(task.result() for task in tasks)
    assert [day["orders"] for day in await days(owner, store)] == [1]


async def test_the_job_adds_up_the_platform_and_staff_sees_it(
    site: Site, owner: Caller, store: UUID
) -> None:
    await order(site, store, await goods(site, store))
    await owner.get(f"/stores/{store}/products")
    await site.platform.gate.flush()
    await roll_up_stores(site.system)
    staff = await site.caller("staff")
    [today] = (await staff.get("/platform/statistics"))["days"]
    assert today["orders_created"] >= 1
    assert today["api_calls"] >= 1
    assert (await owner.refused("GET", "/platform/statistics"))[0] == 403
    await site.value(REPORTS)
    months = [row["month"] for row in (await staff.get("/platform/revenue?months=2"))["months"]]
    assert (len(months), len(set(months))) == (6, 2)
    assert (await owner.get(f"/stores/{store}"))["api_calls_month"] >= 1
    [performance] = (await owner.get(f"/stores/{store}/analytics"))["performance"]
    assert performance["calls"] >= 1


async def test_a_number_of_products_that_is_in_doubt_is_counted_once(
    site: Site, store: UUID
) -> None:
    await goods(site, store)
    doubt = "update usage_counters set used = 7, doubted_at = now() where store_id = $1"
    await site.value(doubt, store)
    async with site.platform.master.transaction(SERVICE, read_only=True) as db:
        as_of = dict(await list_doubted(db, UUID(int=0)))[store]
    await goods(site, store)
    assert not await site.stores.recount_products(store, as_of), "one came meanwhile"
    held = "update usage_holds set settled_at = null where store_id = $1 returning amount"
    assert await site.value(held, store) == 1
    assert await recount_products(site.system) == 0
    await site.value(held.replace("null", "now()"), store)
    assert await recount_products(site.system) == 1
    shown = """
        select format('%s %s', c.used, s.product_count)
        from usage_counters c
        join stores s on s.id = c.store_id
        where s.id = $1
          and c.metric = 'products'
    """
    assert await site.value(shown, store) == "2 2"
    assert await recount_products(site.system) == 0
