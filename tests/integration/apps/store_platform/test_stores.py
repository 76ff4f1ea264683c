"""A stranger makes a store, gives it a database, and sells from it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.integration.apps.store_platform.platform import Caller, Site, open_site

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
    await site.platform.provisioning.run_once()
    status = await owner.get(f"/provision/{started['jobId']}/status")
    assert status["success"] is True
    assert status["status"] == "active"
    assert status["progress"] == 100
    assert status["tablesCreated"] == status["totalTables"] > 12
    found = await owner.get(f"/stores/{store}")
    assert found["database_status"] == "active"
    assert found["database_type"] == "postgresql"


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
    usage = await owner.get(f"/stores/{store}/usage")
    assert usage["usage"]["products"] == {"used": 1, "limit": 100}
    assert usage["usage"]["orders"] == {"used": 1, "limit": 50}
    [today] = usage["days"]
    assert (today["products_created"], today["orders_created"]) == (1, 1)
    assert today["orders_total_value"] == "39.80"
    assert today["api_calls"] == usage["usage"]["api_calls"]["used"] > 6


async def test_what_is_ordered_must_be_there(site: Site, owner: Caller) -> None:
    store = await site.open_store(owner)
    product = await owner.post(
        f"/stores/{store}/products", {"sku": "L1", "slug": "lamp", "name": "Lamp"}
    )
    price = {"product_id": product["id"], "currency": "USD", "amount": "5"}
    await owner.post(f"/stores/{store}/prices", price)
    body = {"email": "a@example.com", "lines": [{"product_id": product["id"], "quantity": 1}]}
    assert await owner.refused("POST", f"/stores/{store}/orders", body) == (409, "stock_too_small")
    usage = await owner.get(f"/stores/{store}/usage")
    assert usage["usage"]["orders"]["used"] == 0
    assert await site.value("select count(*) from usage_holds where store_id = $1", store) == 0


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
