"""What the platform knows of stores is right after late data, crashes, and several at once."""

import asyncio
import datetime as dt
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from tests.integration.apps.store_platform.platform import Caller, Site, open_site

from bulkhead.apps.store_platform.jobs import roll_up_stores
from bulkhead.apps.store_platform.store.sales.model import LineBody, OrderBody
from bulkhead.apps.store_platform.views import READ
from bulkhead.engine.failpoints import FailpointReached
from bulkhead.engine.fleet.model import TenantId
from bulkhead.engine.ids import new_id
from bulkhead.engine.testing import TestServers, crash_at


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
        await db.execute(
            "insert into prices (id, product_id, currency, amount) values ($1, $2, 'USD', 10)",
            [new_id(), key],
        )
        await db.execute(
            "insert into inventory (product_id, location, on_hand) values ($1, 'main', 100)", [key]
        )
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
    assert (await owner.get(f"/stores/{store}"))["api_calls_month"] >= 1
    [performance] = (await owner.get(f"/stores/{store}/analytics"))["performance"]
    assert performance["calls"] >= 1
