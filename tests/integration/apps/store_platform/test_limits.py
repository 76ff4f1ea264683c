"""Plans are kept under concurrency, and nothing is lost or counted twice when processes die."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Sequence
from pathlib import Path
from uuid import UUID

import pytest
from tests.integration.apps.store_platform.platform import Caller, Site, open_site

from bulkhead.apps.store_platform.invariants import platform_invariants
from bulkhead.apps.store_platform.master.metering.model import Call, PlanLimitReached
from bulkhead.apps.store_platform.store.sales.model import LineBody, OrderBody
from bulkhead.apps.store_platform.views import HELD, WRITTEN
from bulkhead.engine.failpoints import FailpointReached
from bulkhead.engine.ids import new_id
from bulkhead.engine.monitoring.invariant import run_invariants
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


async def attempts(tries: Sequence[Awaitable[object]]) -> list[object]:
    """What became of each of some attempts that are made at once."""
    tasks = [asyncio.ensure_future(each) for each in tries]
    await asyncio.wait(tasks)
    return [task.exception() or task.result() for task in tasks]


def product(number: int) -> dict[str, object]:
    return {"sku": f"P{number}", "slug": f"p-{number}", "name": f"Product {number}"}


async def limit(site: Site, store: UUID, column: str, value: int) -> None:
    sql = f"update subscriptions set {column} = $2 where store_id = $1 returning 1"
    assert await site.value(sql, store, value) == 1


async def counter(site: Site, store: UUID, metric: str) -> tuple[int, int]:
    used = "select used from usage_counters where store_id = $1 and metric = $2"
    held = "select held from usage_counters where store_id = $1 and metric = $2"
    return await site.value(used, store, metric), await site.value(held, store, metric)


async def counted(site: Site, store: UUID) -> int:
    async with site.platform.fleet.connection(store) as db:  # type: ignore[arg-type]
        return int(await db.fetch_value("select count(*) from products"))


async def test_a_plan_allows_so_many_products_however_many_are_added_at_once(
    site: Site, store: UUID
) -> None:
    await limit(site, store, "max_products", 5)
    found = await attempts(
        [site.stores.add_product(store, new_id(), product(number)) for number in range(16)]
    )
    assert sum(isinstance(each, PlanLimitReached) for each in found) == 11
    assert await counter(site, store, "products") == (5, 0)
    assert await counted(site, store) == 5
    shown = "select product_count from stores where id = $1"
    assert await site.value(shown, store) == 5


async def test_what_is_deleted_makes_room(site: Site, owner: Caller, store: UUID) -> None:
    await limit(site, store, "max_products", 1)
    first = await owner.post(f"/stores/{store}/products", product(1))
    refused = await owner.refused("POST", f"/stores/{store}/products", product(2))
    assert refused == (402, "plan_limit_reached")
    gone = await owner.send("DELETE", f"/stores/{store}/products/{first['id']}")
    assert gone.status_code == 204
    await owner.post(f"/stores/{store}/products", product(2))
    assert await counter(site, store, "products") == (1, 0)
    day = (await owner.get(f"/stores/{store}/usage"))["days"][0]
    assert (day["products_created"], day["products_deleted"], day["total_products"]) == (2, 1, 1)


async def test_orders_of_a_month_are_limited_and_a_repeat_is_no_second_order(
    site: Site, store: UUID
) -> None:
    await limit(site, store, "max_orders_per_month", 3)
    body = await sellable(site, store)
    again = new_id()
    found = await attempts(
        [site.stores.place_order(store, again, body, "USD", "same") for _ in range(6)]
        + [site.stores.place_order(store, new_id(), body, "USD", None) for _ in range(6)]
    )
    refused = [each for each in found if isinstance(each, BaseException)]
    assert all(isinstance(each, PlanLimitReached) for each in refused), refused
    assert await counter(site, store, "orders") == (3, 0)
    async with site.platform.fleet.connection(store) as db:  # type: ignore[arg-type]
        assert await db.fetch_value("select count(*) from orders") == 3
        assert await db.fetch_value("select sum(on_hand) from inventory") == 97


@pytest.mark.parametrize("point", [HELD, WRITTEN], ids=str)
async def test_a_crash_in_the_middle_of_a_write_is_settled_by_what_is_there(
    site: Site, store: UUID, point: str
) -> None:
    key = new_id()
    with crash_at(point), pytest.raises(FailpointReached):
        await site.stores.add_product(store, key, product(1))
    assert await counter(site, store, "products") == (0, 1)
    assert await site.stores.sweep_holds(older_than_s=0) >= 1
    there = await counted(site, store)
    assert there == (1 if point == WRITTEN else 0)
    assert await counter(site, store, "products") == (there, 0)
    await site.stores.sweep_holds(older_than_s=0)
    assert await counter(site, store, "products") == (there, 0)


@pytest.mark.parametrize("point", [HELD, WRITTEN], ids=str)
async def test_a_crash_in_the_middle_of_a_deletion_frees_only_what_is_gone(
    site: Site, store: UUID, point: str
) -> None:
    key = new_id()
    await site.stores.add_product(store, key, product(1))
    with crash_at(point), pytest.raises(FailpointReached):
        await site.stores.delete_product(store, key)
    assert await counter(site, store, "products") == (1, 0)
    await site.stores.sweep_holds(older_than_s=0)
    there = await counted(site, store)
    assert there == (0 if point == WRITTEN else 1)
    assert await counter(site, store, "products") == (there, 0)


async def test_calls_are_counted_before_they_are_made_and_no_more_than_allowed(
    site: Site, owner: Caller, store: UUID
) -> None:
    await limit(site, store, "max_api_calls_per_month", 20)
    owner_id = await site.value("select owner_id from stores where id = $1", store)
    found = await attempts(
        [
            site.platform.gate.admit(
                Call(new_id(), store, owner_id, False, "/products", "GET", "127.0.0.1", "test")  # noqa: FBT003
            )
            for _ in range(150)
        ]
    )
    assert sum(isinstance(each, PlanLimitReached) for each in found) == 130
    assert await owner.refused("GET", f"/stores/{store}/products") == (402, "plan_limit_reached")
    rows = "select count(*) from api_usage_logs where store_id = $1"
    days = "select sum(api_calls) from usage_metrics where store_id = $1"
    assert await site.value(rows, store) == await site.value(days, store) == 20


async def test_how_calls_ended_is_written_down_once(site: Site, owner: Caller, store: UUID) -> None:
    await owner.get(f"/stores/{store}/products")
    await owner.refused("GET", f"/stores/{store}/products/{new_id()}")
    await site.platform.gate.flush()
    await site.platform.gate.flush()
    statuses = (
        "select array_agg(status_code order by status_code) from api_usage_logs where store_id = $1"
    )
    assert await site.value(statuses, store) == [200, 404]
    errors = "select api_errors from usage_metrics where store_id = $1"
    assert await site.value(errors, store) == 1


async def test_the_partitions_of_the_next_months_are_made_once(site: Site) -> None:
    assert await site.value("select private.ensure_api_usage_partitions(2)") == 0
    assert await site.value("select private.ensure_api_usage_partitions(4)") == 2
    assert await site.value("select private.ensure_api_usage_partitions(4)") == 0


async def sellable(site: Site, store: UUID) -> OrderBody:
    """An order of one piece of something of which there are a hundred."""
    key = new_id()
    await site.stores.add_product(store, key, product(1))
    async with site.platform.fleet.transaction(store) as db:  # type: ignore[arg-type]
        await db.execute(
            "insert into prices (id, product_id, currency, amount) values ($1, $2, 'USD', 5)",
            [new_id(), key],
        )
        await db.execute(
            "insert into inventory (product_id, location, on_hand) values ($1, 'main', 100)", [key]
        )
    line = LineBody(product_id=key, quantity=1)
    return OrderBody(email=f"{key.hex}@example.com", lines=[line])


async def test_after_all_that_the_invariants_hold(site: Site) -> None:
    await site.platform.gate.flush()
    report = await run_invariants(site.system.router, platform_invariants())
    assert report.holds, str(report)
