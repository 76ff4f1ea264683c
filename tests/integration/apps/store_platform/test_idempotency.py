"""An order is placed once for each key, whoever repeats it, and counted once, on any server."""

from collections.abc import AsyncIterator
from itertools import zip_longest
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from mariadb_server import MariadbServer
from tests.integration.apps.store_platform.mariadb import make_mariadb, open_mariadb_store
from tests.integration.apps.store_platform.platform import (
    BASE,
    Caller,
    Site,
    at_once,
    open_site,
)

from bulkhead.apps.store_platform.master.metering import service as metering
from bulkhead.apps.store_platform.master.metering.model import Hold, Metric
from bulkhead.apps.store_platform.views import SWEPT
from bulkhead.engine.clock import now
from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.fleet.model import TenantId
from bulkhead.engine.ids import derive_id, new_id
from bulkhead.engine.testing import TestServers


@pytest.fixture(scope="module")
async def site(
    servers: TestServers, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Site]:
    home: Path = tmp_path_factory.mktemp("home")
    async with open_site(servers, home) as site:
        yield site


@pytest.fixture(scope="module")
async def owner(site: Site) -> Caller:
    return await site.caller()


@pytest.fixture(params=["postgresql", "mysql"])
async def store(
    request: pytest.FixtureRequest, site: Site, owner: Caller, mariadb: MariadbServer
) -> UUID:
    if request.param == "postgresql":
        return await site.open_store(owner)
    store, _ = await open_mariadb_store(site, owner, await make_mariadb(mariadb))
    return store


async def sellable(owner: Caller, store: UUID) -> dict[str, Any]:
    """A wish for one piece of something that costs 5, and of which there are a hundred."""
    path = f"/stores/{store}"
    product = await owner.post(f"{path}/products", {"sku": "T1", "slug": "t-1", "name": "Tea"})
    price = {"product_id": product["id"], "currency": "USD", "amount": "5"}
    await owner.post(f"{path}/prices", price)
    await owner.post(f"{path}/products/{product['id']}/inventory", {"quantity": 100})
    return {"email": "ada@example.com", "lines": [{"product_id": product["id"], "quantity": 1}]}


async def counted(site: Site, store: UUID, metric: str = "orders") -> tuple[int, int]:
    """What is used and held of the plan."""
    sql = "select array[used, held] from usage_counters where store_id = $1 and metric = $2"
    used, held = await site.value(sql, store, metric)
    return used, held


async def in_store(site: Site, store: UUID, sql: str) -> Any:
    async with site.platform.fleet.connection(TenantId(store)) as db:
        return await db.fetch_value(sql)


async def test_the_same_request_gets_the_same_order_however_it_is_written_down(
    site: Site, owner: Caller, store: UUID
) -> None:
    wish, path = await sellable(owner, store), f"/stores/{store}/orders"
    first = await owner.post(path, wish, idempotency_key="one")
    again = {"name": "", "tax_total": 0, **dict(reversed(wish.items()))}
    assert await owner.post(path, again, idempotency_key="one") == first
    assert "request_hash" not in first
    other = await owner.post(path, wish, idempotency_key="two")
    assert other["id"] != first["id"]
    assert await counted(site, store) == (2, 0)


async def test_another_request_with_the_key_is_refused_and_changes_nothing(
    site: Site, owner: Caller, store: UUID
) -> None:
    wish, path = await sellable(owner, store), f"/stores/{store}/orders"
    first = await owner.post(path, wish, idempotency_key="one")
    for other in (
        {**wish, "email": "eve@example.com"},
        {**wish, "note": "quick"},
        {**wish, "lines": [{**wish["lines"][0], "quantity": 2}]},
    ):
        answer = await owner.send("POST", path, other, idempotency_key="one")
        assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_key_reused")
        assert first["id"] not in answer.text
    assert await counted(site, store) == (1, 0)
    assert await in_store(site, store, "select sum(on_hand) from inventory") == 99
    assert await in_store(site, store, "select count(*) from customers") == 1


async def test_of_two_requests_that_race_for_a_key_one_is_carried_out_and_counted(
    site: Site, owner: Caller, store: UUID
) -> None:
    wish, path = await sellable(owner, store), f"/stores/{store}/orders"
    more = {**wish, "lines": [{**wish["lines"][0], "quantity": 2}]}
    value = 0
    for turn in range(3):
        answers = await at_once(
            owner.send("POST", path, (wish, more)[number % 2], idempotency_key=f"race{turn}")
            for number in range(8)
        )
        placed = [answer for answer in answers if answer.status_code == 201]
        refused = [answer for answer in answers if answer.status_code != 201]
        assert (len(placed), len(refused)) == (4, 4), [answer.text for answer in answers]
        assert len({answer.json()["id"] for answer in placed}) == 1
        assert {answer.json()["code"] for answer in refused} == {"idempotency_key_reused"}
        value += int(float(placed[0].json()["total"]))
        # What both held is settled by what is in the store, not by who asks.
        await site.stores.sweep_holds(older_than_s=0)
        assert await counted(site, store) == (turn + 1, 0)
    sold = "select sum(orders_total_value)::int from usage_metrics where store_id = $1"
    assert await site.value(sold, store) == value
    assert await in_store(site, store, "select sum(on_hand) from inventory") == 100 - value // 5


@pytest.mark.parametrize("key", ["", "k" * 256, "th\u00e9", "a\tb"])
async def test_what_cannot_be_a_key_is_refused_and_counts_no_order(
    site: Site, owner: Caller, key: str
) -> None:
    store = await site.open_store(owner)
    wish = await sellable(owner, store)
    for _ in range(2):
        answer = await owner.http.post(
            f"{BASE}/stores/{store}/orders",
            json=wish,
            headers={
                b"authorization": f"Bearer {owner.token}".encode(),
                b"idempotency-key": key.encode(),
            },
        )
        assert (answer.status_code, answer.json()["code"]) == (422, "request_invalid")
    assert (await owner.get(f"/stores/{store}/usage"))["usage"]["orders"]["used"] == 0


async def test_an_order_from_before_there_were_hashes_answers_to_its_key(
    site: Site, owner: Caller, store: UUID
) -> None:
    wish, path = await sellable(owner, store), f"/stores/{store}/orders"
    first = await owner.post(path, wish, idempotency_key="one")
    async with site.platform.fleet.transaction(TenantId(store)) as db:
        await db.execute("update orders set request_hash = null")
    assert (await owner.post(path, wish, idempotency_key="one"))["id"] == first["id"]


async def test_a_product_that_several_delete_at_once_is_counted_once(
    site: Site, owner: Caller, store: UUID
) -> None:
    for number in range(4):
        body = {"sku": f"P{number}", "slug": f"p-{number}", "name": "P"}
        product = (await owner.post(f"/stores/{store}/products", body))["id"]
        path = f"/stores/{store}/products/{product}"
        answers = await at_once(owner.send("DELETE", path) for _ in range(5))
        assert {answer.status_code for answer in answers} <= {204, 404}
        await site.stores.sweep_holds(older_than_s=0)
        assert await counted(site, store, "products") == (0, 0)


@pytest.fixture
async def wish(site: Site, owner: Caller) -> Hold:
    store, subject = await owner.make_store(), new_id()
    return Hold(derive_id("product+", store, subject), store, Metric.PRODUCTS, 1, subject)


async def hold(site: Site, wish: Hold) -> bool:
    async with site.platform.master.transaction(SERVICE) as tx:
        return await metering.hold(tx, wish, now().date())


async def settle(site: Site, wish: Hold) -> None:
    async with site.platform.master.transaction(SERVICE) as tx:
        await metering.settle(tx, [wish.id])


async def release(site: Site, wish: Hold) -> None:
    async with site.platform.master.transaction(SERVICE) as tx:
        await metering.release(tx, wish)


async def test_who_comes_after_it_was_counted_counts_nothing(site: Site, wish: Hold) -> None:
    assert await hold(site, wish)
    await settle(site, wish)
    assert not await hold(site, wish)
    await settle(site, wish)
    await release(site, wish)
    assert await counted(site, wish.store, "products") == (1, 0)


async def test_nobody_takes_away_what_another_attempt_counts_on(site: Site, wish: Hold) -> None:
    assert await hold(site, wish)
    assert not await hold(site, wish)
    await release(site, wish)
    assert await counted(site, wish.store, "products") == (0, 1)
    await settle(site, wish)
    assert await counted(site, wish.store, "products") == (1, 0)


async def test_a_sweep_takes_nothing_away_that_was_taken_up_again(site: Site, wish: Hold) -> None:
    assert await hold(site, wish)
    await site.value("update stores set database_status = 'active' where id = $1", wish.store)
    async with site.platform.master.transaction(SERVICE) as tx:
        [stale] = [each for each in await metering.take_stale(tx, SWEPT, 0) if each.id == wish.id]
    assert not await hold(site, wish)
    await release(site, stale)
    assert await counted(site, wish.store, "products") == (0, 1)


async def test_settled_holds_are_forgotten_after_a_while(site: Site, wish: Hold) -> None:
    await hold(site, wish)
    await settle(site, wish)
    old = "update usage_holds set settled_at = now() - interval '2 hours' where id = $1"
    await site.value(old, wish.id)
    await site.stores.sweep_holds()
    assert await site.value("select count(*) from usage_holds where id = $1", wish.id) == 0


async def test_orders_and_cancellations_with_a_discount_never_wait_in_a_circle(
    site: Site, owner: Caller, store: UUID
) -> None:
    wish, path = await sellable(owner, store), f"/stores/{store}"
    discount = {"code": "TEN", "name": "Ten", "kind": "percent", "percent": "10"}
    made = await owner.post(f"{path}/discounts", discount)
    wish["discount_code"] = "ten"
    standing: list[str] = []
    for _ in range(4):
        cancel = [
            owner.send("POST", f"{path}/orders/{each}/state", {"state": "cancelled"})
            for each in standing
        ]
        place = [
            owner.send("POST", f"{path}/orders", {**wish, "email": f"{number}@example.com"})
            for number in range(8)
        ]
        answers = await at_once(
            call for pair in zip_longest(place, cancel) for call in pair if call
        )
        told = [(answer.status_code, answer.json().get("code")) for answer in answers]
        assert set(told) <= {(201, None), (200, None)}, told
        standing = [answer.json()["id"] for answer in answers if answer.status_code == 201]
    used = (await owner.get(f"{path}/discounts/{made['id']}"))["used_count"]
    assert used == len(standing) == 8
    assert await in_store(site, store, "select sum(on_hand) from inventory") == 100 - 8
