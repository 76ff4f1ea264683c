import asyncio
import json

import pytest
from tests.integration.engine.references.rows import (
    add_gifts,
    add_lines,
    add_products,
    rows,
    run,
    value,
)
from tests.integration.engine.references.shop_application import SHOP

from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.connections.router import Router
from bulkhead.engine.references import deletion
from bulkhead.engine.references.deletion import (
    TargetsDeleted,
    announce_deletions,
    deletion_subscriptions,
    settle_deletions,
)
from bulkhead.engine.system import System
from bulkhead.engine.testing import crash_at, drain, restarted
from bulkhead.engine.topology import Topology


async def announced_keys(router: Router) -> list[str]:
    payloads = await rows(router, "catalog", "select payload from bulkhead.events")
    return [key for (payload,) in payloads for key in json.loads(payload)["keys"]]


def test_only_databases_that_feel_a_deletion_subscribe(topology: Topology) -> None:
    assert [each.name for each in deletion_subscriptions(topology)] == ["references.sales"]


async def test_each_tombstone_is_announced_once(router: Router, topology: Topology) -> None:
    products = await add_products(router, 5)
    await run(router, "catalog", "delete from public.products where id <> $1", products[0])
    assert await announce_deletions(router, topology) == 4
    assert await announce_deletions(router, topology) == 0
    assert sorted(await announced_keys(router)) == sorted(str(key) for key in products[1:])
    delivered = await rows(router, "catalog", "select handler from bulkhead.deliveries")
    assert delivered == [("references.sales",)]


async def test_announcers_at_the_same_time_share_the_work(
    router: Router, topology: Topology, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deletion, "BATCH_MAX", 3)
    products = await add_products(router, 40)
    await run(router, "catalog", "delete from public.products")
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(announce_deletions(router, topology)) for _ in range(4)]
    rest = await announce_deletions(router, topology)
    assert sum(task.result() for task in tasks) + rest == 40
    assert sorted(await announced_keys(router)) == sorted(str(key) for key in products)


async def test_nobody_is_told_of_what_no_row_elsewhere_feels(
    router: Router, topology: Topology
) -> None:
    await run(router, "catalog", "insert into public.codes values ('a')")
    await run(router, "catalog", "delete from public.codes")
    assert await announce_deletions(router, topology) == 0


async def test_a_deletion_takes_effect_as_declared_and_repeating_it_changes_nothing(
    router: Router, topology: Topology
) -> None:
    kept, gone = await add_products(router, 2)
    await add_lines(router, [kept, gone])
    await add_gifts(router, [kept, gone])
    await run(router, "sales", "insert into public.wishes values (1, $1), (2, $2)", kept, gone)
    event = TargetsDeleted("products", (str(gone),))
    for expected in (2, 0):
        async with router.database("sales").transaction(SERVICE) as tx:
            assert await settle_deletions(topology, tx, [event]) == expected
    lines = await rows(router, "sales", "select product_id from public.lines order by id")
    assert lines == [(kept,), (gone,)], "on_delete=KEEP: history stays"
    gifts = await rows(router, "sales", "select product_id from public.gifts order by slot")
    assert gifts == [(kept,), (None,)], "on_delete=SET_NULL"
    assert await value(router, "sales", "select array_agg(id) from public.wishes") == [1]


async def test_a_deletion_of_another_table_is_none_of_ours(
    router: Router, topology: Topology
) -> None:
    products = await add_products(router, 1)
    await add_gifts(router, products)
    async with router.database("sales").transaction(SERVICE) as tx:
        event = TargetsDeleted("codes", (str(products[0]),))
        assert await settle_deletions(topology, tx, [event]) == 0


async def test_a_deletion_reaches_the_other_database_once(shop: System, router: Router) -> None:
    kept, gone = await add_products(router, 2)
    await add_gifts(router, [kept, gone])
    await run(router, "catalog", "delete from public.products where id = $1", gone)
    assert await announce_deletions(router, SHOP.topology) == 1
    assert await shop.relay.drain() == 1
    gifts = await rows(router, "sales", "select product_id from public.gifts order by slot")
    assert gifts == [(kept,), (None,)]
    assert await value(router, "sales", "select count(*) from bulkhead.inbox") == 1


@pytest.mark.parametrize("point", ["relay.received", "relay.handled", "relay.delivered"])
async def test_a_deletion_survives_a_crash_of_whoever_carries_it(
    shop: System, router: Router, point: str
) -> None:
    kept, gone = await add_products(router, 2)
    await add_gifts(router, [kept, gone])
    await run(router, "catalog", "delete from public.products where id = $1", gone)
    await announce_deletions(router, SHOP.topology)
    with crash_at(point):
        await shop.relay.drain()
    async with restarted(shop) as system:
        await drain(system)
    gifts = await rows(router, "sales", "select product_id from public.gifts order by slot")
    assert gifts == [(kept,), (None,)]
    assert await value(router, "sales", "select count(*) from bulkhead.inbox") == 1
