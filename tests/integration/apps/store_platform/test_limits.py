"""Plans are kept under concurrency, and nothing is lost or counted twice when processes die."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Sequence
from pathlib import Path
from typing import cast
from uuid import UUID

import pytest
from mariadb_server import MariadbServer
from tests.integration.apps.store_platform.mariadb import make_mariadb, open_mariadb_store
from tests.integration.apps.store_platform.platform import Caller, Site, open_site
from tests.integration.engine.fleet.stalled import stalled
from tests.integration.engine.provisioning.test_asked_meanwhile import Overtaken

from bulkhead.apps.store_platform.invariants import platform_invariants
from bulkhead.apps.store_platform.master.metering import service as metering
from bulkhead.apps.store_platform.master.metering.model import (
    Call,
    Contents,
    Hold,
    Metric,
    Outcome,
    PlanLimitReached,
)
from bulkhead.apps.store_platform.store.catalogue_tables import CATEGORIES, PRICES, PRODUCTS
from bulkhead.apps.store_platform.store.records.service import (
    ParentBelow,
    add_record,
    change_record,
    move_stock,
)
from bulkhead.apps.store_platform.store.sales.model import LineBody, OrderBody
from bulkhead.apps.store_platform.views import HELD, WRITTEN
from bulkhead.engine import clock
from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.connections.transaction import Transaction
from bulkhead.engine.failpoints import FailpointReached
from bulkhead.engine.fleet.connection import TenantConnection
from bulkhead.engine.ids import new_id
from bulkhead.engine.monitoring.invariant import run_invariants
from bulkhead.engine.testing import TestServers, crash_at

WAITING = """
select count(*)
from pg_locks l
join pg_stat_activity a on a.pid = l.pid
where a.datname = current_database()
  and not l.granted
"""


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


@pytest.fixture(params=["postgresql", "mysql"])
async def store(
    request: pytest.FixtureRequest, site: Site, owner: Caller, mariadb: MariadbServer
) -> UUID:
    if request.param == "postgresql":
        return await site.open_store(owner)
    return (await open_mariadb_store(site, owner, await make_mariadb(mariadb)))[0]


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


async def test_with_a_product_its_variants_go_each_of_which_counts(site: Site, store: UUID) -> None:
    """One that comes while the product is being deleted counts, too."""
    lamp, red, late = new_id(), new_id(), new_id()
    await site.stores.add_product(store, lamp, product(1))
    await site.stores.add_product(store, red, {**product(2), "variant_of": lamp})
    await site.stores.add_product(store, new_id(), {**product(3), "variant_of": red})
    await site.stores.add_product(store, new_id(), product(4))
    assert await counter(site, store, "products") == (4, 0)
    async with stalled(HELD, site.stores.delete_product(store, lamp)) as deletion:
        await site.stores.add_product(store, late, {**product(5), "variant_of": lamp})
    await deletion
    assert await counted(site, store) == 1
    assert await counter(site, store, "products") == (1, 0)
    deleted = "select products_deleted from usage_metrics where store_id = $1"
    assert await site.value(deleted, store) == 4


async def test_what_came_back_with_an_archive_is_counted_when_it_is_deleted_again(
    site: Site, store: UUID
) -> None:
    key = new_id()
    await site.stores.add_product(store, key, product(1))
    for _ in range(2):
        await site.stores.delete_product(store, key)
        assert await counter(site, store, "products") == (0, 0)
        async with site.platform.fleet.transaction(store) as db:  # type: ignore[arg-type]
            await add_record(db, PRODUCTS, key, product(1))
        async with site.platform.master.transaction(SERVICE) as tx:
            await metering.recount(tx, store, Contents(1, 0, 0))
        assert await counter(site, store, "products") == (1, 0)


async def test_what_is_tried_while_a_store_is_counted_anew_can_be_given_back(
    site: Site, owner: Caller
) -> None:
    store = await owner.make_store()
    wish = Hold(new_id(), store, Metric.PRODUCTS, 1, new_id())
    master = site.platform.master

    async def hold() -> None:
        async with master.transaction(SERVICE) as tx:
            await metering.hold(tx, wish, clock.now().date())

    async with master.transaction(SERVICE) as tx:
        overtaken = cast("Transaction", Overtaken(tx, 1, hold))
        await metering.recount(overtaken, store, Contents(7, 0, 0))
    assert await counter(site, store, "products") == (7, 1)
    async with master.transaction(SERVICE) as tx:
        await metering.release(tx, wish)
    assert await counter(site, store, "products") == (7, 0)


async def test_whoever_counts_anew_and_whoever_settles_wait_in_one_order(
    site: Site, owner: Caller
) -> None:
    store = await owner.make_store()
    me = await site.value("select owner_id from stores where id = $1", store)
    call = Call(new_id(), store, me, False, "/products", "GET", None, None)  # noqa: FBT003
    await site.platform.gate.admit(call)

    async def recount() -> None:
        async with site.platform.master.transaction(SERVICE) as tx:
            await tx.execute("set local lock_timeout = 0")
            await metering.recount(tx, store, Contents(0, 0, 0))

    async with site.platform.master.transaction(SERVICE) as tx:
        day = "update usage_metrics set updated_at = now() where store_id = $1"
        await tx.execute(day, store)
        counting = asyncio.create_task(recount())
        async with asyncio.timeout(10):
            while not await site.value(WAITING):
                assert not counting.done()
        last = "select id from stores where id = $1 for no key update skip locked"
        assert await tx.fetchval(last, store) == store
    await counting


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


async def test_goods_that_two_put_where_there_were_none_are_all_there(
    site: Site, store: UUID
) -> None:
    key = new_id()
    await site.stores.add_product(store, key, product(1))

    async def put_five() -> None:
        async with site.platform.fleet.transaction(store) as db:  # type: ignore[arg-type]
            await move_stock(db, key, 5, kind="receipt")

    async with site.platform.fleet.transaction(store) as db:  # type: ignore[arg-type]
        overtaken = Overtaken(cast("Transaction", db), 1, put_five)
        await move_stock(cast("TenantConnection", overtaken), key, 3, kind="receipt")
    async with site.platform.fleet.connection(store) as db:  # type: ignore[arg-type]
        assert await db.fetch_value("select sum(on_hand) from inventory") == 8
        assert await db.fetch_value("select sum(quantity) from inventory_movements") == 8


async def test_no_category_comes_to_stand_below_itself_however_many_are_moved_at_once(
    site: Site, owner: Caller, store: UUID
) -> None:
    path, shelves = f"/stores/{store}/categories", list[str]()
    for slug in ("lamps", "red", "dark-red"):
        above = {"parent_id": shelves[-1]} if shelves[1:] else {}
        shelves.append((await owner.post(path, {"slug": slug, "name": slug, **above}))["id"])
    lamps, red, dark = shelves
    for below in (red, dark):
        refused = await owner.refused("PATCH", f"{path}/{red}", {"parent_id": below})
        assert refused == (422, "parent_below")

    async def move(category: str, parent: str) -> None:
        async with site.platform.fleet.transaction(store) as db:  # type: ignore[arg-type]
            await change_record(db, CATEGORIES, UUID(category), {"parent_id": UUID(parent)})

    async with site.platform.fleet.transaction(store) as db:  # type: ignore[arg-type]
        await change_record(db, CATEGORIES, UUID(red), {"parent_id": UUID(lamps)})
        crossing = asyncio.create_task(move(lamps, dark))
        await asyncio.sleep(0)
    with pytest.raises(ParentBelow):
        await crossing
    await move(dark, lamps)


async def test_an_order_is_counted_however_much_the_day_is_worth_already(
    site: Site, owner: Caller, store: UUID
) -> None:
    body = await sellable(site, store)
    await site.stores.place_order(store, new_id(), body, "USD", None)
    rich = "update usage_metrics set orders_total_value = 999999999999.98 where store_id = $1"
    await site.value(rich, store)
    await site.stores.place_order(store, new_id(), body, "USD", None)
    assert await counter(site, store, "orders") == (2, 0)
    [today] = (await owner.get(f"/stores/{store}/usage"))["days"]
    assert (today["orders_created"], today["orders_total_value"]) == (2, "999999999999.99")


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


async def test_ends_of_calls_and_calls_lock_the_stores_in_one_order(
    site: Site, owner: Caller
) -> None:
    shops = sorted([await owner.make_store() for _ in range(8)])
    me = await site.value("select owner_id from stores where id = $1", shops[0])
    calls = [Call(new_id(), shop, me, False, "/", "GET", None, None) for shop in shops]  # noqa: FBT003
    outcomes = [Outcome(await site.platform.gate.admit(it), 404, 1, None) for it in calls]
    free = (
        "with free as (select from usage_metrics where store_id = any ($1) for share skip locked) "
        "select count(*) from free"
    )

    async def finish() -> None:
        async with site.platform.master.transaction(SERVICE) as tx:
            await tx.execute("set local lock_timeout = 0")
            await metering.finish_calls(tx, outcomes)

    async with site.platform.master.transaction(SERVICE) as tx:
        last = "update usage_metrics set updated_at = now() where store_id = $1"
        await tx.execute(last, shops[-1])
        finishing = asyncio.create_task(finish())
        async with asyncio.timeout(10):
            while await site.value(free, shops[:-1]):
                assert not finishing.done()
    await finishing


async def test_the_partitions_of_the_next_months_are_made_once(site: Site) -> None:
    ensure = "select private.ensure_api_usage_partitions($1)"
    # In one transaction it is one month throughout; another may have begun since the migration.
    async with site.platform.master.transaction(SERVICE) as tx:
        await tx.execute(ensure, 2)
        made = [await tx.fetchval(ensure, ahead) for ahead in (2, 4, 4)]
    assert made == [0, 2, 0]


async def sellable(site: Site, store: UUID) -> OrderBody:
    """An order of one piece of something of which there are a hundred."""
    key = new_id()
    await site.stores.add_product(store, key, product(1))
    async with site.platform.fleet.transaction(store) as db:  # type: ignore[arg-type]
        price = {"product_id": key, "currency": "USD", "amount": 5}
        await add_record(db, PRICES, new_id(), price)
        await move_stock(db, key, 100, kind="receipt")
    line = LineBody(product_id=key, quantity=1)
    return OrderBody(email=f"{key.hex}@example.com", lines=[line])


async def test_after_all_that_the_invariants_hold(site: Site) -> None:
    await site.platform.gate.flush()
    report = await run_invariants(site.system.router, platform_invariants())
    assert report.holds, str(report)
