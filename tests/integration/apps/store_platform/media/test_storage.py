"""Which storage a store has: tried before it is kept, sealed, and shown without its secrets."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, cast
from uuid import UUID

import pytest
from tests.integration.apps.store_platform.media.files import config, forget_limits, send
from tests.integration.apps.store_platform.platform import Caller, Site
from tests.integration.capabilities.storage.s3_server import Keys, S3Server

from bulkhead.apps.store_platform.media import HELD
from bulkhead.apps.store_platform.media_routes import REACH_OUT
from bulkhead.capabilities.storage import (
    Bucket,
    Buckets,
    StorageConfig,
    StorageCredentialsRefused,
)
from bulkhead.capabilities.vault.rotation import reseal
from bulkhead.engine import failpoints
from bulkhead.engine.ids import new_id
from bulkhead.web.serving import serving

SECRET = "owner/secret+key"  # noqa: S105
ROUTES = (
    ("GET", "/storage"),
    ("PUT", "/storage"),
    ("DELETE", "/storage"),
    ("POST", "/storage/test"),
    ("GET", "/media"),
    ("POST", "/media?file_name=a.png"),
    ("POST", "/media/uploads"),
    ("POST", f"/media/uploads/{new_id()}"),
    ("GET", f"/media/{new_id()}"),
    ("PATCH", f"/media/{new_id()}"),
    ("DELETE", f"/media/{new_id()}"),
    ("GET", f"/products/{new_id()}/media"),
    ("PUT", f"/products/{new_id()}/media"),
)


@pytest.fixture(scope="module")
async def store(site: Site, owner: Caller) -> UUID:
    return await site.open_store(owner)


@pytest.fixture
def wish(s3: S3Server, bucket: str) -> dict[str, Any]:
    """A connection to a bucket of its own."""
    return config(s3, bucket)


@pytest.fixture
async def path(owner: Caller, store: UUID) -> AsyncIterator[str]:
    yield f"/stores/{store}"
    await owner.send("DELETE", f"/stores/{store}/storage")


def changed(wish: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {**wish, "config": {**wish["config"], **fields}}


@pytest.mark.parametrize(("method", "route"), ROUTES, ids=range(len(ROUTES)))
async def test_a_stranger_gets_nowhere(
    site: Site, path: str, wish: dict[str, Any], method: str, route: str
) -> None:
    body: dict[str, Any] = wish if "storage" in route and method != "GET" else {}
    body = {"media": []} if "products" in route else body
    if "uploads" in route:
        body = {"file_name": "a.png", "content_type": "image/png", "size_bytes": 1}
    nobody = Caller(site.http)
    assert await nobody.refused(method, path + route, body) == (401, "unauthenticated")
    other = await site.caller()
    assert await other.refused(method, path + route, body) == (404, "not_found")


async def test_without_a_storage_files_say_what_to_do(owner: Caller, path: str) -> None:
    answer = await send(owner, path)
    assert (answer.status_code, answer.json()["code"]) == (409, "storage_not_connected")
    assert "PUT /store_platform/stores/<id>/storage" in answer.json()["hint"]
    assert (await owner.get(f"{path}/media"))["media"] == []
    for method, route in (("GET", ""), ("DELETE", ""), ("POST", "/test")):
        refused = await owner.refused(method, f"{path}/storage{route}")
        assert refused == (409, "storage_not_connected")
    shown = await owner.get(path)
    assert (shown["storage_type"], shown["storage_status"]) == (None, "none")


async def test_a_connection_is_shown_without_its_secrets(
    site: Site, owner: Caller, store: UUID, path: str, wish: dict[str, Any]
) -> None:
    answer = await owner.send("PUT", f"{path}/storage", wish)
    assert answer.status_code == 200, answer.text
    shown = await owner.get(f"{path}/storage")
    assert (shown["storageType"], shown["status"]) == ("aws-s3", "working")
    assert shown["config"]["bucket"] == wish["config"]["bucket"]
    everything = f"{answer.text} {shown} {await owner.get(path)} {await owner.get(path + '/audit')}"
    assert SECRET not in everything
    assert "storage.connected" in everything
    sealed = "select sealed_config from integration_secrets where store_id = $1"
    assert SECRET.encode() not in bytes(await site.value(sealed, store))
    assert (await owner.post(f"{path}/storage/test"))["success"] is True
    assert (await owner.send("DELETE", f"{path}/storage")).status_code == 204
    assert await site.value(sealed, store) is None
    assert (await owner.get(path))["storage_status"] == "none"


async def test_so_many_storages_are_tried_and_no_more(
    site: Site, path: str, wish: dict[str, Any]
) -> None:
    owner = await site.caller()
    path = f"/stores/{await owner.make_store()}"
    away = changed(wish, endpoint="https://10.0.0.1")
    for _ in range(REACH_OUT.burst):
        assert await owner.refused("POST", f"{path}/storage/test", away) == (422, "host_refused")
    for method, route in (("POST", "/storage/test"), ("PUT", "/storage")):
        assert await owner.refused(method, path + route, wish) == (429, "over_request_rate_limit")


async def test_what_does_not_work_is_not_kept(
    site: Site, s3: S3Server, owner: Caller, path: str, wish: dict[str, Any]
) -> None:
    reader = s3.add_user(Keys("AKIAREADER", SECRET, frozenset({"GET"})))
    cases = {
        "storage_credentials_refused": changed(wish, secretAccessKey="wrong"),
        "storage_credentials_refused ": changed(wish, accessKeyId=reader.access_key_id),
        "bucket_unknown": changed(wish, bucket="nothing-here"),
        "storage_unreachable": changed(wish, endpoint="http://127.0.0.1:9"),
        "host_refused": changed(wish, endpoint="http://169.254.169.254/latest"),
        "host_refused ": changed(wish, endpoint="https://10.0.0.1"),
        "host_refused  ": changed(wish, endpoint="https://metadata.google.internal"),
        "storage_config_invalid": changed(wish, endpoint="gopher://127.0.0.1:6379/x"),
        "storage_config_invalid ": changed(wish, endpoint="https://user:pw@s3.example"),
        "storage_config_invalid  ": changed(wish, endpoint="https://s3.example/?x=1"),
        "storage_config_invalid   ": changed(wish, endpoint="https://s3.example/../x"),
        "storage_config_invalid    ": changed(wish, region="x.evil.example/"),
        "storage_config_invalid     ": changed(wish, bucket="a/../b"),
        "storage_config_invalid      ": {"storageType": "aws-s3", "config": {"bucket": "abc"}},
        "storage_config_invalid       ": {
            **changed(wish, projectUrl="https://evil.example"), "storageType": "supabase-storage",
        },
        "request_invalid": {**wish, "storageType": "ftp"},
        "request_invalid ": changed(wish, metadata_endpoint="http://169.254.169.254"),
    }  # fmt: skip
    for code, body in cases.items():
        for method, route in (("POST", "/storage/test"), ("PUT", "/storage")):
            await forget_limits(site)
            answer = await owner.send(method, path + route, body)
            assert answer.json()["code"] == code.strip(), (code, answer.text)
            assert answer.status_code in {422, 503}
            assert SECRET not in answer.text
    assert await owner.refused("GET", f"{path}/storage") == (409, "storage_not_connected")
    assert s3.objects(wish["config"]["bucket"]) == {}


async def test_a_trial_keeps_nothing(
    s3: S3Server, owner: Caller, path: str, wish: dict[str, Any]
) -> None:
    told = await owner.post(f"{path}/storage/test", wish)
    assert told["success"] is True
    assert s3.objects(wish["config"]["bucket"]) == {}
    assert await owner.refused("GET", f"{path}/storage") == (409, "storage_not_connected")


@dataclass(frozen=True)
class LateBuckets:
    """The buckets, before one of which is opened something happens."""

    buckets: Buckets
    happen: Callable[[], Awaitable[object]]

    async def open(self, config: StorageConfig) -> Bucket:
        await self.happen()
        return await self.buckets.open(config)


async def test_a_storage_that_was_connected_while_its_predecessor_was_tried_works(
    site: Site, s3: S3Server, owner: Caller, connected: str, bucket: str
) -> None:
    store, storages = UUID(connected.rpartition("/")[2]), site.platform.media.storages
    old = s3.add_user(Keys("AKIAOLD", "old"))
    assert (await owner.send("PUT", f"{connected}/storage", config(s3, bucket, old))).is_success
    s3.gate.users.pop(old.access_key_id)

    async def connect() -> None:
        answer = await owner.send("PUT", f"{connected}/storage", config(s3, bucket))
        assert answer.is_success

    buckets = cast("Buckets", LateBuckets(storages.buckets, connect))
    with pytest.raises(StorageCredentialsRefused):
        await replace(storages, buckets=buckets).try_again(store)
    shown = await owner.get(f"{connected}/storage")
    assert (shown["status"], shown["lastError"]) == ("working", None)
    assert (await owner.get(connected))["storage_status"] == "active"


async def test_two_stores_in_one_bucket_never_meet(
    site: Site, s3: S3Server, owner: Caller, path: str, wish: dict[str, Any]
) -> None:
    other = await site.caller()
    second = f"/stores/{await site.open_store(other)}"
    mine: list[dict[str, Any]] = []
    theirs: list[dict[str, Any]] = []
    for caller, place, found in ((owner, path, mine), (other, second, theirs)):
        assert (await caller.send("PUT", f"{place}/storage", wish)).is_success
        found.append((await send(caller, place)).json())
    assert mine[0]["storage_key"].startswith(f"{path.removeprefix('/')}/")
    assert theirs[0]["storage_key"].startswith(f"{second.removeprefix('/')}/")
    [key] = [it["id"] for it in theirs]
    for method in ("GET", "DELETE"):
        assert await owner.refused(method, f"{path}/media/{key}") == (404, "not_found")
    assert len(s3.objects(wish["config"]["bucket"])) == 2
    for caller, place, found in ((owner, path, mine), (other, second, theirs)):
        gone = await caller.send("DELETE", f"{place}/media/{found[0]['id']}")
        assert gone.status_code == 204
    assert s3.objects(wish["config"]["bucket"]) == {}


async def test_a_deleted_store_leaves_its_files_to_their_owner(
    site: Site, s3: S3Server, wish: dict[str, Any]
) -> None:
    owner = await site.caller()
    path = f"/stores/{await site.open_store(owner)}"
    assert (await owner.send("PUT", f"{path}/storage", wish)).is_success
    assert (await send(owner, path)).status_code == 201
    assert (await owner.send("DELETE", path)).status_code == 202
    assert len(s3.objects(wish["config"]["bucket"])) == 1
    assert (await send(owner, path)).status_code == 410
    assert len(s3.objects(wish["config"]["bucket"])) == 1


async def test_an_expired_store_reads_and_stores_nothing(
    site: Site, s3: S3Server, owner: Caller, store: UUID, path: str, wish: dict[str, Any]
) -> None:
    assert (await owner.send("PUT", f"{path}/storage", wish)).is_success
    row = (await send(owner, path)).json()
    sql = "update stores set subscription_status = $2 where id = $1 returning 1"
    await site.value(sql, store, "expired")
    answer = await send(owner, path)
    assert (answer.status_code, answer.json()["code"]) == (402, "subscription_expired")
    assert (await owner.get(f"{path}/media/{row['id']}"))["url"]
    await site.value(sql, store, "active")
    assert len(s3.objects(wish["config"]["bucket"])) == 1
    assert (await owner.send("DELETE", f"{path}/media/{row['id']}")).status_code == 204


async def test_a_rotated_key_opens_the_storage_as_before(
    site: Site, s3: S3Server, owner: Caller, store: UUID, path: str, wish: dict[str, Any]
) -> None:
    assert (await owner.send("PUT", f"{path}/storage", wish)).is_success
    sealed = "select sealed_config from integration_secrets where store_id = $1"
    before = await site.value(sealed, store)
    vault: Any = site.system.vault
    await vault.rotate_key(str(store))
    assert await reseal(vault, tenant=str(store)) >= 1
    assert await site.value(sealed, store) != before
    assert (await send(owner, path)).status_code == 201
    [row] = (await owner.get(f"{path}/media"))["media"]
    assert (await owner.send("DELETE", f"{path}/media/{row['id']}")).status_code == 204
    assert s3.objects(wish["config"]["bucket"]) == {}


async def test_a_secret_of_another_store_opens_nothing(
    site: Site, owner: Caller, store: UUID, path: str, wish: dict[str, Any]
) -> None:
    """Whoever can write to the master, but has no key, cannot give a store another's bucket."""
    other = await site.open_store(owner)
    assert (await owner.send("PUT", f"{path}/storage", wish)).is_success
    assert (await owner.send("PUT", f"/stores/{other}/storage", wish)).is_success
    move = """update integration_secrets set sealed_config =
      (select sealed_config from integration_secrets where store_id = $1)
      where store_id = $2 returning 1"""
    await site.value(move, other, store)
    answer = await send(owner, path)
    assert (answer.status_code, answer.json()["code"]) == (500, "seal_broken")
    assert SECRET not in answer.text
    await owner.send("DELETE", f"/stores/{other}/storage")


def note(held: asyncio.Event, point: str) -> None:
    if point == HELD:
        held.set()


async def test_who_is_cut_off_in_the_middle_of_an_upload_leaves_nothing(
    site: Site, s3: S3Server, owner: Caller, store: UUID, path: str, wish: dict[str, Any]
) -> None:
    """Over a real socket: a large file in parts, and one that would have gone whole."""
    assert (await owner.send("PUT", f"{path}/storage", wish)).is_success
    places = site.platform.media.places
    app = site.http._transport.app  # type: ignore[attr-defined]
    async with serving(app) as web:
        for size, sent in ((20_000_000, 12_000_000), (200_000, 100_000)):
            held = asyncio.Event()
            failpoints.observe(partial(note, held))
            _, writer = await asyncio.open_connection(web.host, web.port)
            head = (
                f"POST /store_platform{path}/media?file_name=a.pdf HTTP/1.1\r\nHost: x\r\n"
                f"Authorization: Bearer {owner.token}\r\nContent-Type: application/pdf\r\n"
                f"Content-Length: {size}\r\n\r\n"
            )
            writer.write(head.encode() + b"%PDF-" + b"x" * sent)
            await writer.drain()
            async with asyncio.timeout(20):
                await held.wait()
                writer.transport.abort()
                async with places._changed:
                    await places._changed.wait_for(lambda: not places._taken)
            sql = "select held from usage_counters where store_id = $1 and metric = $2"
            assert await site.value(sql, store, "storage_bytes") == 0
            bucket = wish["config"]["bucket"]
            assert (s3.objects(bucket), s3.uploads(bucket)) == ({}, 0)
    failpoints.observe(None)
