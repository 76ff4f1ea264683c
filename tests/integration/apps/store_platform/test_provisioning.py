"""Provisioning as its clients see it: refused, followed, cancelled, failed, and taken back."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, cast
from uuid import UUID

import pytest
from quiet_port import quiet_port
from tests.integration.apps.store_platform.platform import Caller, Site, at_once, open_site

from bulkhead.apps.store_platform import routes
from bulkhead.apps.store_platform.jobs import purge_deleted
from bulkhead.apps.store_platform.master.stores.model import STORES_MAX, STORES_SETTING
from bulkhead.apps.store_platform.routes import REACH_OUT
from bulkhead.capabilities.storage import Buckets, StorageConfig
from bulkhead.engine.failpoints import FailpointReached
from bulkhead.engine.fleet.model import TenantId
from bulkhead.engine.ids import new_id
from bulkhead.engine.provisioning.job import JobId
from bulkhead.engine.testing import TestServers, crash_at

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


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Silence is noticed after one second instead of five."""
    monkeypatch.setattr(routes, "SILENCE_S", 1.0)


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
    shown = await owner.get(f"/stores/{store}")
    assert shown["database_status"] == "failed"
    [database] = shown["integrations"]
    assert database["connection_status"] == "failed"
    assert database["last_error"].startswith(status["error"]["code"])
    assert "canary" not in json.dumps(shown)
    left = "select count(*) from bulkhead.fleet_tenants where id = $1"
    assert await site.value(left, store) == 0
    assert (await site.provision(owner, store))["status"] == "active"


@pytest.mark.usefixtures("impatient")
async def test_a_connection_is_tested_without_a_trace(site: Site, owner: Caller) -> None:
    written = """select (select count(*) from integration_configs)
        + (select count(*) from bulkhead.provisioning_jobs)"""
    before = await site.value(written)
    answer = await owner.send("POST", "/provision/test", {"config": NOWHERE})
    assert answer.status_code == 503
    told = answer.json()
    assert (told["success"], told["code"]) == (False, "host_unreachable")
    assert "canary" not in answer.text
    assert await site.value(written) == before


SUPABASE = {"projectUrl": "https://abcdef.supabase.co", "serviceRoleKey": "canary-5d1f"}
REFUSALS = {
    "no fields": ({}, 422, "invalid", "storeId"),
    "another kind": ({"databaseType": "oracle"}, 422, "invalid", "databaseType"),
    "odd store": ({"storeId": "canary-5d1f"}, 422, "invalid", "storeId"),
    "no password": (
        {"databaseType": "supabase-database", "config": SUPABASE},
        *(422, "supabase_password_needed", "abcdef"),
    ),
    "a thousand fields too many": (
        {"databaseType": "oracle", **{f"x{number}": 1 for number in range(1000)}},
        *(422, "invalid", "and 981 more"),
    ),
    "half a place": ({"config": {"host": "db.example.com"}}, 422, "invalid", "password"),
    "store of another": ({"storeId": str(new_id())}, 404, "not_found", "Store"),
}


@pytest.mark.parametrize(("fields", "status", "code", "word"), REFUSALS.values(), ids=REFUSALS)
async def test_every_refusal_has_the_same_fields(
    site: Site, owner: Caller, fields: dict[str, Any], status: int, code: str, word: str
) -> None:
    store = await owner.make_store()
    body = fields and {"storeId": str(store), **fields}
    answer = await owner.send("POST", "/provision", body)
    assert answer.status_code == status
    told = answer.json()
    assert set(told) == {"success", "message", "code", "hint"}
    assert (told["success"], told["code"]) == (False, code)
    assert word in told["message"]
    assert "canary" not in answer.text
    assert len(answer.content) < 10_000
    assert (await owner.get(f"/stores/{store}"))["database_status"] == "none"


async def test_whoever_is_not_signed_in_is_refused_in_the_same_fields(site: Site) -> None:
    for method, path in (("POST", "/provision"), ("GET", f"/provision/{new_id()}/status")):
        answer = await Caller(site.http).send(method, path)
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
        told = answer.json()
        assert (told["success"], told["code"]) == (False, "unauthenticated")
        assert told["message"]


CERTIFICATE = "-----BEGIN CERTIFICATE-----\nMIIBhTCCASugAwIBAgIQ\n-----END CERTIFICATE-----"
REFUSED = {
    "private": ({"host": "10.0.0.7"}, "host_refused"),
    "metadata": ({"host": "169.254.169.254"}, "host_refused"),
    "mapped": ({"host": "::ffff:10.0.0.7"}, "host_refused"),
    "number": ({"host": "2130706433"}, "host_refused"),
    "unknown": ({"host": "no-such-host.invalid"}, "host_refused"),
    "port": ({"host": "8.8.8.8", "port": 22}, "port_refused"),
    "plain": ({"host": "8.8.8.8", "port": 5432, "tls": "disable"}, "tls_impossible"),
    "unverified": ({"host": "8.8.8.8", "port": 5432, "tls": "require"}, "tls_impossible"),
    "no authority": ({"host": "8.8.8.8", "port": 5432, "tls": "verify-ca"}, "tls_impossible"),
    "broken CA": ({"host": "8.8.8.8", "port": 5432, "caPem": CERTIFICATE}, "tls_impossible"),
    "no CA": ({"host": "8.8.8.8", "port": 5432, "caPem": "nothing"}, "tls_impossible"),
}


@pytest.mark.parametrize("kind", ["postgresql", "mysql"])
@pytest.mark.parametrize(("fields", "code"), REFUSED.values(), ids=REFUSED)
async def test_what_can_never_be_connected_to_is_refused_before_anything_is_written(
    site: Site, owner: Caller, kind: str, fields: dict[str, Any], code: str
) -> None:
    store = await owner.make_store()
    config = {**NOWHERE, **fields}
    if kind == "mysql" and config["port"] == 5432:
        config["port"] = 3306
    body = {"databaseType": kind, "config": config}
    for path in ("/provision", "/provision/test"):
        told = {**body, "storeId": str(store)} if path == "/provision" else body
        answer = await owner.send("POST", path, told)
        assert (answer.status_code, answer.json()["code"]) == (422, code), answer.text
        assert "canary" not in answer.text
    jobs = "select count(*) from bulkhead.provisioning_jobs where tenant = $1"
    assert await site.value(jobs, store) == 0
    assert (await owner.get(f"/stores/{store}"))["database_status"] == "none"


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("kind", ["postgresql", "mysql"])
async def test_a_closed_port_a_filtered_and_a_silent_one_look_the_same(
    owner: Caller, kind: str
) -> None:
    with socket.socket() as filtered, socket.socket() as silent:
        # A queue of one that is full: whoever comes next gets no answer, as behind a firewall.
        filtered.bind(("127.0.0.1", 0))
        filtered.listen(0)
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.settimeout(0)
            filler.connect_ex(filtered.getsockname())
        silent.bind(("127.0.0.1", 0))
        silent.listen(8)
        ports = [wire.getsockname()[1] for wire in (filtered, silent)]
        ports.append(quiet_port())
        answers = await at_once(
            owner.send(
                "POST",
                "/provision/test",
                {"databaseType": kind, "config": {**NOWHERE, "port": port, "ssl": False}},
            )
            for port in ports
        )
        for filler in fillers:
            filler.close()
    told = {
        (answer.status_code, answer.text.replace(str(port), "PORT"))
        for answer, port in zip(answers, ports, strict=True)
    }
    assert len(told) == 1, told
    [(status, text)] = told
    assert status == 503
    assert "nobody answers" in text


async def test_connections_to_hosts_of_ones_choice_are_rationed(site: Site, owner: Caller) -> None:
    body = {"config": {**NOWHERE, "host": "10.0.0.7"}}
    answers = await at_once(owner.send("POST", "/provision/test", body) for _ in range(34))
    refused = [answer for answer in answers if answer.status_code == 429]
    assert len(refused) == 34 - REACH_OUT.burst
    assert refused[0].json()["code"] == "over_request_rate_limit"
    assert int(refused[0].headers["retry-after"]) > 0
    store = await owner.make_store()
    answer = await owner.send("POST", "/provision", {"storeId": str(store), **body})
    assert answer.status_code == 429
    # A store that the platform makes is none of that, and others are not kept waiting.
    assert (await site.provision(owner, store))["status"] == "active"
    other = await site.caller()
    assert (await other.send("POST", "/provision/test", body)).status_code == 422


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


async def test_a_store_that_is_only_switched_off_is_not_restored(site: Site, owner: Caller) -> None:
    never, store = await owner.make_store(), await site.open_store(owner)
    for each in (never, store):
        await owner.send("PATCH", f"/stores/{each}", {"is_active": False})
        refused = await owner.send("POST", f"/stores/{each}/restore")
        assert (refused.status_code, refused.json()["code"]) == (409, "store_not_deleted")
        assert "is_active" in refused.json()["hint"]
        assert (await owner.get(f"/stores/{each}"))["is_active"] is False
    await owner.send("DELETE", f"/stores/{store}")
    with crash_at("fleet.lifecycle:opened_in_registry"), suppress(FailpointReached):
        await owner.send("POST", f"/stores/{store}/restore")
    assert (await owner.get(f"/stores/{store}"))["is_active"] is False
    for _ in range(2):
        assert (await owner.post(f"/stores/{store}/restore"))["is_active"] is True
    await owner.send("PATCH", f"/stores/{store}", {"is_active": False})
    refused = await owner.send("POST", f"/stores/{store}/restore")
    assert refused.json()["code"] == "store_not_deleted"


@pytest.mark.parametrize("scope", ["all", "one"])
async def test_an_owner_has_so_many_stores_however_many_are_made_at_once(
    site: Site, owner: Caller, scope: str
) -> None:
    first = await owner.make_store()
    usage = (await owner.get(f"/stores/{first}/usage"))["usage"]
    assert usage["stores_of_owner"] == {"used": 1, "limit": STORES_MAX}
    owner_id = UUID((await owner.get(f"/stores/{first}"))["owner_id"])
    own = f"{STORES_SETTING}.{owner_id.hex}"
    settings = {STORES_SETTING: 5} if scope == "all" else {STORES_SETTING: 2, own: 5}
    setting = "insert into platform_settings (name, value) values ($1, to_jsonb($2::int))"
    for name, value in settings.items():
        await site.value(setting, name, value)
    try:
        bodies = [{"name": "Shop", "slug": f"many-{new_id().hex[-12:]}"} for _ in range(20)]
        answers = await at_once(owner.send("POST", "/stores", body) for body in bodies)
        assert sorted(each.status_code for each in answers) == [201] * 4 + [409] * 16
        refused = {each.json()["code"] for each in answers if each.status_code == 409}
        assert refused == {"store_limit_reached"}
        assert len((await owner.get("/stores"))["stores"]) == 5
        another = await site.caller()
        await another.make_store()
        assert (await owner.send("DELETE", f"/stores/{first}")).status_code == 204
        await owner.make_store()
    finally:
        await site.value("delete from platform_settings")


async def test_a_deleted_store_can_be_restored_until_it_is_purged(
    site: Site, owner: Caller
) -> None:
    store = await site.open_store(owner)
    answer = await owner.send("DELETE", f"/stores/{store}")
    assert answer.status_code == 202
    for change in ({"is_active": True}, {"is_published": True}):
        refused = await owner.refused("PATCH", f"/stores/{store}", change)
        assert refused == (410, "store_closed")
    assert (await owner.send("PATCH", f"/stores/{store}", {"name": "Old"})).status_code == 200
    assert await owner.refused("GET", f"/stores/{store}/products") == (410, "store_closed")
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


class AnyBucket:
    """Stands for every bucket there may be, and knows how it was reached."""

    def __init__(self) -> None:
        self.reached: list[str] = []

    async def open(self, config: StorageConfig) -> "AnyBucket":
        self.reached.append(config.bucket)
        return self

    async def probe(self, _: str) -> None:
        pass


async def test_a_store_that_cannot_be_given_a_database_keeps_its_bucket(
    site: Site, owner: Caller
) -> None:
    store, buckets = await owner.make_store(), AnyBucket()
    storages = replace(site.platform.media.storages, buckets=cast("Buckets", buckets))
    config = StorageConfig.s3("mine", "eu", "AKIAMINE", "secret", endpoint="https://s3.example")
    await storages.connect(store, config, actor=None)
    job = (await owner.post("/provision", {"storeId": str(store)}))["jobId"]
    await site.platform.provisioning.cancel(JobId(UUID(job)))
    await site.platform.provisioning.run_once()
    assert (await owner.get(f"/provision/{job}/status"))["status"] == "cancelled"
    await storages.open(store)
    assert buckets.reached == ["mine", "mine"]
    assert (await owner.send("DELETE", f"/stores/{store}")).status_code == 204
    secrets = "select count(*) from integration_secrets where store_id = $1"
    assert await site.value(secrets, store) == 0
