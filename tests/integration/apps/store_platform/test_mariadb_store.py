"""A store whose owner runs a MariaDB server is sold from like any other."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from mariadb_server import MariadbServer
from tests.integration.apps.store_platform.mariadb import (
    PASSWORD,
    make_mariadb,
    open_mariadb_store,
)
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
async def config(mariadb: MariadbServer) -> dict[str, Any]:
    return await make_mariadb(mariadb)


@pytest.fixture
async def owner(site: Site) -> Caller:
    return await site.caller()


async def test_a_store_is_provisioned_on_mariadb_and_no_secret_is_shown(
    site: Site, owner: Caller, config: dict[str, Any]
) -> None:
    told = await owner.post("/provision/test", {"databaseType": "mysql", "config": config})
    assert "MariaDB" in told["serverVersion"]
    assert told["tables"] == 0
    store, status = await open_mariadb_store(site, owner, config)
    assert status["tablesCreated"] == status["totalTables"] > 12
    shown = await owner.get(f"/stores/{store}")
    assert (shown["database_type"], shown["database_name"]) == ("mysql", config["database"])
    assert PASSWORD not in str(shown)


async def test_a_store_on_mariadb_is_sold_from_like_any_other(
    site: Site, owner: Caller, config: dict[str, Any]
) -> None:
    store, _ = await open_mariadb_store(site, owner, config)
    path = f"/stores/{store}"
    product, order, wish = await sell(owner, path)
    assert order["total"] == "14.5000"
    assert (await owner.post(f"{path}/orders", wish, idempotency_key="one"))["id"] == order["id"]
    assert await owner.refused("POST", f"{path}/orders", wish) == (409, "stock_too_small")
    [found] = (await owner.get(f"{path}/products?sku=T1"))["products"]
    assert found["name"] == "Green"
    twin = {"sku": "T1", "slug": "other", "name": "Other"}
    assert await owner.refused("POST", f"{path}/products", twin) == (409, "unique_violated")
    await site.stores.roll_up(store)
    [day] = (await owner.get(f"{path}/analytics"))["days"]
    assert (day["orders"], day["items_sold"], day["revenue"]) == (1, 2, "14.50")
    await owner.post(f"{path}/orders/{order['id']}/state", {"state": "cancelled"})
    await site.stores.roll_up(store)
    [day] = (await owner.get(f"{path}/analytics"))["days"]
    assert (day["orders"], day["orders_cancelled"]) == (0, 1)
    [stock] = (await owner.get(f"{path}/products/{product}/inventory"))["inventory"]
    assert stock["on_hand"] == 3
    usage = (await owner.get(f"{path}/usage"))["usage"]
    assert (usage["products"]["used"], usage["orders"]["used"]) == (1, 1)


async def test_a_wrong_password_is_told_and_leaves_nothing(
    owner: Caller, config: dict[str, Any]
) -> None:
    wrong = {**config, "password": "no"}
    answer = await owner.send("POST", "/provision/test", {"databaseType": "mysql", "config": wrong})
    assert answer.json()["code"] == "login_refused"


async def sell(owner: Caller, path: str) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """A product of which two of three are ordered: its id, the order, and what was wished."""
    shelf = await owner.post(f"{path}/categories", {"slug": "tea", "name": "Thé 茶"})
    product = await owner.post(f"{path}/products", {"sku": "T1", "slug": "green", "name": "Green"})
    answer = await owner.send(
        "PUT", f"{path}/products/{product['id']}/categories", {"categories": [shelf["id"]]}
    )
    assert answer.json() == {"categories": [shelf["id"]]}
    price = {"product_id": product["id"], "currency": "USD", "amount": "7.25"}
    await owner.post(f"{path}/prices", price)
    await owner.post(f"{path}/products/{product['id']}/inventory", {"quantity": 3})
    wish = {"email": "ada@example.com", "lines": [{"product_id": product["id"], "quantity": 2}]}
    order = await owner.post(f"{path}/orders", wish, idempotency_key="one")
    return product["id"], order, wish
