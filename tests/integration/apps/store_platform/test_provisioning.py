"""Provisioning as its clients see it: refused, followed, cancelled, failed, and taken back."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.integration.apps.store_platform.platform import Caller, Site, open_site

from bulkhead.apps.store_platform.jobs import purge_deleted
from bulkhead.engine.fleet.model import TenantId
from bulkhead.engine.ids import new_id
from bulkhead.engine.testing import TestServers

NOWHERE = {
    "host": "127.0.0.1",
    "port": 1,
    "database": "shop",
    "username": "shop",
    "password": "canary-5d1f",
}


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


async def test_many_requests_for_one_store_are_one_job(site: Site, owner: Caller) -> None:
    store = await owner.make_store()
    tasks = [
        asyncio.create_task(owner.post("/provision", {"storeId": str(store)})) for _ in range(20)
    ]
    await asyncio.wait(tasks)
    assert len({task.result()["jobId"] for task in tasks}) == 1
    await site.platform.provisioning.run_once()
    again = await owner.post("/provision", {"storeId": str(store)})
    assert (again["status"], again["jobId"]) == ("active", tasks[0].result()["jobId"])


async def test_the_progress_is_a_stream_of_events_until_the_end(site: Site, owner: Caller) -> None:
    store = await owner.make_store()
    job = (await owner.post("/provision", {"storeId": str(store)}))["jobId"]
    work = asyncio.create_task(site.platform.provisioning.run_once())
    answer = await owner.send("GET", f"/provision/{job}/status", accept="text/event-stream")
    await work
    assert answer.headers["content-type"].startswith("text/event-stream")
    events = [event.split("\n") for event in answer.text.strip().split("\n\n")]
    assert [event[1] for event in events][-1] == "event: end"
    last = json.loads(events[-1][2].removeprefix("data: "))
    assert (last["success"], last["status"], last["progress"]) == (True, "active", 100)


async def test_a_server_that_does_not_answer_fails_with_a_hint_and_leaves_nothing(
    site: Site, owner: Caller
) -> None:
    store = await owner.make_store()
    body = {"storeId": str(store), "databaseType": "postgresql", "config": NOWHERE}
    job = (await owner.post("/provision", body))["jobId"]
    shown = await owner.get(f"/stores/{store}")
    assert shown["database_host"] == "127.0.0.1"
    assert "canary" not in json.dumps(shown)
    status: dict[str, Any] = {}
    async with asyncio.timeout(30):
        while status.get("status") != "failed":
            await site.value("update bulkhead.provisioning_jobs set due_at = now()")
            await site.platform.provisioning.run_once()
            status = await owner.get(f"/provision/{job}/status")
    assert status["error"]["code"] in {"host_unreachable", "server_unreachable"}
    assert status["error"]["hint"]
    assert "canary" not in json.dumps(status)
    assert (await owner.get(f"/stores/{store}"))["database_status"] == "failed"
    left = "select count(*) from bulkhead.fleet_tenants where id = $1"
    assert await site.value(left, store) == 0
    assert (await site.provision(owner, store))["status"] == "active"


async def test_a_connection_is_tested_without_a_trace(site: Site, owner: Caller) -> None:
    answer = await owner.send("POST", "/provision/test", {"config": NOWHERE})
    assert answer.status_code == 503
    told = answer.json()
    assert (told["success"], told["code"]) == (False, "host_unreachable")
    assert "canary" not in answer.text
    private = {**NOWHERE, "host": "10.0.0.7"}
    answer = await owner.send("POST", "/provision/test", {"config": private})
    assert answer.json()["code"] == "host_refused"
    assert await site.value("select count(*) from bulkhead.provisioning_jobs where kind = 'x'") == 0


async def test_a_job_that_is_cancelled_takes_everything_back(site: Site, owner: Caller) -> None:
    store = await owner.make_store()
    job = (await owner.post("/provision", {"storeId": str(store)}))["jobId"]
    await owner.post(f"/provision/{job}/cancel")
    await site.platform.provisioning.run_once()
    assert (await owner.get(f"/provision/{job}/status"))["status"] == "cancelled"
    assert (await owner.get(f"/stores/{store}"))["database_status"] == "failed"


async def test_the_job_of_another_is_not_found(site: Site, owner: Caller) -> None:
    store = await owner.make_store()
    job = (await owner.post("/provision", {"storeId": str(store)}))["jobId"]
    stranger = await site.caller()
    assert (await stranger.refused("GET", f"/provision/{job}/status"))[0] == 404
    assert (await stranger.refused("POST", f"/provision/{job}/cancel"))[0] == 404
    assert (await stranger.refused("GET", f"/provision/{new_id()}/status"))[0] == 404
    await site.platform.provisioning.run_once()


@pytest.mark.parametrize(
    "slug",
    ["ab", "-shop", "shop-", "a--b", "Shop", "shop'", 'shop"', "läden", "www", "s" * 64, "a b"],
)
async def test_a_slug_is_an_address_or_refused(owner: Caller, slug: str) -> None:
    body = {"name": "Shop", "slug": slug}
    assert await owner.refused("POST", "/stores", body) == (422, "slug_refused")


async def test_a_slug_is_made_of_the_name_and_is_nobody_elses(owner: Caller) -> None:
    name = f"Läden & Söhne {new_id().hex[-8:]}"
    made = await owner.post("/stores", {"name": name})
    assert made["slug"].startswith("laden-sohne-")
    assert await owner.refused("POST", "/stores", {"name": name}) == (409, "slug_taken")


async def test_a_deleted_store_can_be_restored_until_it_is_purged(
    site: Site, owner: Caller
) -> None:
    store = await site.open_store(owner)
    answer = await owner.send("DELETE", f"/stores/{store}")
    assert answer.status_code == 202
    assert (await owner.send("GET", f"/stores/{store}/products")).status_code >= 400
    restored = await owner.post(f"/stores/{store}/restore")
    assert (restored["database_status"], restored["is_active"]) == ("active", True)
    assert (await owner.get(f"/stores/{store}/products"))["products"] == []
    await site.platform.lifecycle.delete(TenantId(store), grace_s=0)
    await owner.send("DELETE", f"/stores/{store}")
    await site.value("update bulkhead.fleet_deletions set purge_at = now() - interval '1 hour'")
    await purge_deleted(site.system)
    assert (await owner.refused("GET", f"/stores/{store}"))[0] == 404
    left = "select count(*) from bulkhead.fleet_tenants where id = $1"
    assert await site.value(left, store) == 0
