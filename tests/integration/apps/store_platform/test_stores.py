"""A stranger makes a store, gives it a database, and sells from it."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast
from uuid import UUID

import pytest
from tests.integration.apps.store_platform.platform import Caller, Site, open_site
from tests.integration.engine.provisioning.test_asked_meanwhile import Overtaken

from bulkhead.apps.store_platform.fleet import Platform
from bulkhead.apps.store_platform.master.stores import service as stores
from bulkhead.apps.store_platform.master.stores.model import STORES_SETTING
from bulkhead.apps.store_platform.routes import ProvisionBody, Provisioner
from bulkhead.apps.store_platform.store.resources import PRODUCTS, RESOURCES
from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.connections.transaction import Transaction
from bulkhead.engine.drivers.errors import CheckViolated
from bulkhead.engine.errors import NotFound
from bulkhead.engine.testing import TestServers


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


async def test_a_store_is_provisioned_and_says_so_with_the_fields_of_the_seed(
    site: Site, owner: Caller
) -> None:
    store = await owner.make_store()
    started = await owner.post("/provision", {"storeId": str(store), "databaseType": "postgresql"})
    assert started == {
        "success": True,
        "message": "Database provisioning started",
        "jobId": started["jobId"],
        "status": "provisioning",
    }
    assert (await owner.get(f"/stores/{store}"))["database_status"] == "provisioning"
    assert await owner.refused("DELETE", f"/stores/{store}") == (409, "store_has_database")
    await site.platform.provisioning.run_once()
    status = await owner.get(f"/provision/{started['jobId']}/status")
    assert status["success"] is True
    assert status["status"] == "active"
    assert status["progress"] == 100
    assert status["tablesCreated"] == status["totalTables"] > 12
    found = await owner.get(f"/stores/{store}")
    assert found["database_status"] == "active"
    assert found["database_type"] == "postgresql"
    [database] = found["integrations"]
    assert (database["purpose"], database["connection_status"]) == ("database", "working")
    assert database["tested_at"]
    [category] = (await owner.get(f"/stores/{store}/categories"))["categories"]
    assert (category["slug"], category["name"]) == ("general", "General")


async def test_products_are_sold_and_counted(site: Site, owner: Caller) -> None:
    store = await site.open_store(owner)
    shelf = await owner.post(f"/stores/{store}/categories", {"slug": "lamps", "name": "Lamps"})
    product = await owner.post(
        f"/stores/{store}/products", {"sku": "L1", "slug": "lamp", "name": "Lamp"}
    )
    await owner.send(
        "PUT", f"/stores/{store}/products/{product['id']}/categories",
        {"categories": [shelf["id"]]},
    )  # fmt: skip
    await owner.post(
        f"/stores/{store}/prices",
        {"product_id": product["id"], "currency": "USD", "amount": "19.90"},
    )
    await owner.post(f"/stores/{store}/products/{product['id']}/inventory", {"quantity": 5})
    body = {
        "email": "ada@example.com",
        "lines": [{"product_id": product["id"], "quantity": 2}],
    }
    order = await owner.post(f"/stores/{store}/orders", body, idempotency_key="once")
    assert order["total"] == "39.8000"
    assert order["items"][0]["name"] == "Lamp"
    again = await owner.post(f"/stores/{store}/orders", body, idempotency_key="once")
    assert again["id"] == order["id"]
    [stock] = (await owner.get(f"/stores/{store}/products/{product['id']}/inventory"))["inventory"]
    assert stock["on_hand"] == 3
    for resource in (PRODUCTS, *RESOURCES):
        await owner.get(f"/stores/{store}/{resource.name}")  # As it is described.
    assert [each["id"] for each in (await owner.get(f"/stores/{store}/orders"))["orders"]] == [
        order["id"]
    ]
    moved = await owner.post(f"/stores/{store}/orders/{order['id']}/state", {"state": "confirmed"})
    assert moved == await owner.get(f"/stores/{store}/orders/{order['id']}")
    assert (moved["state"], len(moved["items"])) == ("confirmed", 1)
    placed = await owner.get(f"/stores/{store}/products/{product['id']}/categories")
    assert placed == {"categories": [shelf["id"]]}
    usage = await owner.get(f"/stores/{store}/usage")
    assert usage["usage"]["products"] == {"used": 1, "limit": 100}
    assert usage["usage"]["orders"] == {"used": 1, "limit": 50}
    [today] = usage["days"]
    assert (today["products_created"], today["orders_created"]) == (1, 1)
    assert today["orders_total_value"] == "39.80"
    assert today["api_calls"] == usage["usage"]["api_calls"]["used"] > 6


async def test_a_page_of_long_texts_ends_early_and_the_next_one_goes_on(
    site: Site, owner: Caller
) -> None:
    store = await site.open_store(owner)
    for number in range(6):
        body = "x" * (900_000 if number < 5 else 10)
        page = {"slug": f"p{number}", "title": "Long", "body": body}
        await owner.post(f"/stores/{store}/cms-pages", page)
    listed: list[str] = []
    sizes: list[int] = []
    cursor = ""
    while len(sizes) < 6:
        answer = await owner.get(f"/stores/{store}/cms-pages?limit=6{cursor}")
        sizes.append(len(answer["cms_pages"]))
        listed += [row["slug"] for row in answer["cms_pages"]]
        if answer["next"] is None:
            break
        cursor = f"&cursor={answer['next']}"
    assert listed == ["p5", "p4", "p3", "p2", "p1", "p0"]
    assert sizes == [5, 1]


async def test_what_is_ordered_must_be_there(site: Site, owner: Caller) -> None:
    store = await site.open_store(owner)
    product = await owner.post(
        f"/stores/{store}/products", {"sku": "L1", "slug": "lamp", "name": "Lamp"}
    )
    price = {"product_id": product["id"], "currency": "USD", "amount": "5"}
    await owner.post(f"/stores/{store}/prices", price)
    body = {"email": "a@example.com", "lines": [{"product_id": product["id"], "quantity": 1}]}
    assert await owner.refused("POST", f"/stores/{store}/orders", body) == (409, "stock_too_small")
    body["lines"] = [{"product_id": product["id"], "quantity": True}]
    refused = (await owner.send("POST", f"/stores/{store}/orders", body)).json()
    assert refused["code"] == "request_invalid"
    assert [each["path"] for each in refused["errors"]] == ["body.lines.0.quantity"]
    usage = await owner.get(f"/stores/{store}/usage")
    assert usage["usage"]["orders"]["used"] == 0
    held = "select count(*) from usage_holds where store_id = $1 and settled_at is null"
    assert await site.value(held, store) == 0


async def test_nobody_reaches_the_store_of_another(site: Site, owner: Caller) -> None:
    store = await site.open_store(owner)
    stranger, nobody = await site.caller(), Caller(site.http)
    calls = await site.value("select count(*) from api_usage_logs where store_id = $1", store)
    for path in ("", "/products", "/orders", "/usage", "/invoices", "/analytics", "/audit"):
        assert (await stranger.refused("GET", f"/stores/{store}{path}"))[0] == 404
        assert (await nobody.refused("GET", f"/stores/{store}{path}"))[0] == 401
    body = {"storeId": str(store)}
    assert (await stranger.send("POST", "/provision", body)).status_code == 404
    assert (await nobody.send("POST", "/provision", body)).status_code == 401
    after = await site.value("select count(*) from api_usage_logs where store_id = $1", store)
    assert after == calls


@dataclass(frozen=True)
class Prepared:
    """The platform, on which something happens just before a job is begun."""

    platform: Platform
    happen: Callable[[], Awaitable[object]]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.platform, name)

    async def prepare(self) -> None:
        await self.platform.prepare()
        await self.happen()


async def test_a_store_that_was_just_deleted_gets_no_database(site: Site, owner: Caller) -> None:
    store = await owner.make_store()
    prepared = Prepared(site.platform, lambda: owner.send("DELETE", f"/stores/{store}"))
    with pytest.raises(NotFound):
        await Provisioner(cast("Platform", prepared)).start(SERVICE, ProvisionBody(store_id=store))
    jobs = "select count(*) from bulkhead.provisioning_jobs where tenant = $1"
    assert await site.value(jobs, store) == 0


async def test_who_deletes_a_store_that_another_just_deleted_is_told_so(
    site: Site, owner: Caller
) -> None:
    store = await owner.make_store()
    async with site.platform.master.transaction(SERVICE) as tx:
        late = Overtaken(tx, 1, lambda: owner.send("DELETE", f"/stores/{store}"))
        with pytest.raises(NotFound):
            await stores.delete_store(cast("Transaction", late), store, actor=None)


async def test_a_store_is_served_as_the_last_of_a_deletion_and_a_restoration_says(
    site: Site, owner: Caller
) -> None:
    """Each changes the registry first and the store then; another may come in between."""
    store = await owner.make_store()
    master, change = site.platform.master, "update stores set database_status = $2 where id = $1"
    for status, late in (
        ("active", stores.begin_deletion),
        ("deleting", stores.begin_deletion),
        ("deleting", stores.take_back_deletion),
        ("active", stores.take_back_deletion),
    ):
        await site.value(change, store, status)
        async with master.transaction(SERVICE) as tx:
            await late(tx, store, actor=None)
        assert (await owner.get(f"/stores/{store}"))["is_active"] is (status == "active")
    told = [it["action"] for it in (await owner.get(f"/stores/{store}/audit"))["entries"]]
    assert told[:3] == ["store.restored", "store.closed", "store.created"]


async def test_stores_whose_databases_are_gone_end_once_whoever_comes(
    site: Site, owner: Caller
) -> None:
    store = await owner.make_store()
    gone = "update stores set database_status = 'deleted', is_active = false where id = $1"
    await site.value(gone, store)

    async def end() -> int:
        async with site.platform.master.transaction(SERVICE) as tx:
            return await stores.end_deletions(tx)

    async with site.platform.master.transaction(SERVICE) as tx:
        overtaken = Overtaken(tx, 1, end)
        assert await stores.end_deletions(cast("Transaction", overtaken)) == 1
    assert (await owner.refused("GET", f"/stores/{store}"))[0] == 404


OWN = f"{STORES_SETTING}.{UUID(int=7).hex}"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *((STORES_SETTING, text) for text in ('"100"', "-1", "2.5", "5.0", "true", "null")),
        *((OWN, text) for text in ("[7]", '{"limit": 7}', "1000000000")),
        *((f"stores_per_{rest}", "7") for rest in ("owners", "owner.", "owner.7", "store")),
        (f"{STORES_SETTING}.{UUID(int=7).hex}7", "7"),
    ],
)
async def test_a_setting_that_nobody_could_follow_is_refused(
    site: Site, name: str, value: str
) -> None:
    with pytest.raises(CheckViolated) as refused:
        await site.value("insert into platform_settings values ($1, $2::jsonb)", name, value)
    told = {key: str(text) for key, text in refused.value.details.items()}
    assert name in told["reason"]
    assert "100" in told["raised_hint"] or STORES_SETTING in told["raised_hint"]


async def test_a_setting_is_changed_to_what_can_be_followed_only(site: Site) -> None:
    for name in (STORES_SETTING, OWN, "something.else"):
        await site.value("insert into platform_settings values ($1, '7')", name)
    try:
        change = "update platform_settings set value = $2::jsonb where name = $1 returning value"
        assert await site.value(change, OWN, "1e2") == "100"
        assert await site.value(change, "something.else", '"lots"') == '"lots"'
        with pytest.raises(CheckViolated):
            await site.value(change, OWN, '"lots"')
    finally:
        await site.value("delete from platform_settings")


async def test_the_description_tells_operations_apart(site: Site) -> None:
    paths = (await site.http.get("http://platform.test/openapi.json")).json()["paths"]
    named = {
        f"{method} {path}": operation
        for path, methods in paths.items()
        for method, operation in methods.items()
        if path.startswith("/store_platform")
    }
    summaries = [each["summary"] for each in named.values()]
    assert sorted(summaries) == sorted(set(summaries))
    public = {name for name, each in named.items() if "security" not in each}
    assert public == {"get /store_platform/plans", "get /store_platform/inbox"}
    undescribed = {
        (name, status)
        for name, operation in named.items()
        for status, told in operation["responses"].items()
        if status in {"200", "201", "202"}
        and "$ref" not in told.get("content", {}).get("application/json", {}).get("schema", {})
    }
    assert undescribed == {("get /store_platform/inbox", "200")}  # A page for people.
    parameters = named["get /store_platform/stores/{store_id}/attribute-options"]["parameters"]
    assert {each["name"]: each["schema"].get("format") for each in parameters} == {
        "store_id": "uuid",
        "cursor": None,
        "limit": None,
        "attribute_id": "uuid",
    }


async def test_plans_are_shown_to_everybody_with_prices_as_all_amounts_are(site: Site) -> None:
    plans = (await Caller(site.http).get("/plans"))["plans"]
    shown = [(plan["name"], plan["price_monthly"], plan["price_annual"]) for plan in plans]
    assert shown == [
        ("free", "0.00", "0.00"),
        ("starter", "29.00", "290.00"),
        ("professional", "99.00", "990.00"),
        ("enterprise", "499.00", "4990.00"),
    ]
