"""Files come along with the rows of a store: all of them, once, within the plan, whoever dies."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path
from uuid import UUID

import httpx
import pytest
from mariadb_server import MariadbServer
from tests.integration.apps.store_platform.mariadb import make_mariadb, open_mariadb_store
from tests.integration.apps.store_platform.media.files import (
    PNG,
    fill_up,
    pieces,
    rows,
    taken,
    upload,
    upload_one,
)
from tests.integration.apps.store_platform.media.pair import Pair
from tests.integration.apps.store_platform.platform import Caller, Site
from tests.integration.capabilities.storage.s3_server import Keys
from tests.integration.engine.fleet.stalled import stalled
from tests.plain_http import TRUSTS_NOBODY

from bulkhead.apps.store_platform import media, media_copies
from bulkhead.apps.store_platform.copies import COPIED, COUNTED, Copies
from bulkhead.apps.store_platform.invariants import platform_invariants
from bulkhead.apps.store_platform.master.metering.model import PlanLimitReached
from bulkhead.apps.store_platform.media_copies import FilesHomeless, FilesUnsettled, Progress
from bulkhead.apps.store_platform.storage import StorageInUse
from bulkhead.apps.store_platform.store.media.model import object_key
from bulkhead.capabilities.storage import StorageUnreachable
from bulkhead.capabilities.storage.bucket import PART_BYTES
from bulkhead.engine import failpoints
from bulkhead.engine.failpoints import FailpointReached, Mode
from bulkhead.engine.fleet.load import ArchiveUnfit
from bulkhead.engine.fleet.model import TenantId
from bulkhead.engine.ids import new_id
from bulkhead.engine.monitoring.invariant import run_invariants
from bulkhead.engine.testing import crash_at

LARGE = b"%PDF-" + bytes(range(256)) * (PART_BYTES // 256)
PDF = {"name": "Größe.pdf", "kind": "application/pdf"}


@pytest.fixture(scope="module")
async def mysql_stores(stores: Pair, site: Site, owner: Caller, mariadb: MariadbServer) -> Pair:
    one, other = [
        (await open_mariadb_store(site, owner, await make_mariadb(mariadb)))[0] for _ in range(2)
    ]
    return Pair(site, stores.s3, owner, one, other)


@pytest.fixture
async def joined(pair: Pair, buckets: tuple[str, str]) -> tuple[str, str]:
    """A bucket for each store of the pair, the source's first."""
    here, there = buckets
    await pair.connect(pair.source, here)
    await pair.connect(pair.target, there)
    return buckets


@pytest.mark.parametrize("is_shared", [True, False], ids=["same bucket", "other bucket"])
async def test_a_copy_has_the_files_of_its_source_and_none_of_its_own(
    pair: Pair, buckets: tuple[str, str], is_shared: bool
) -> None:
    await verify_copy(pair, buckets, is_shared)


async def test_a_copy_on_mariadb_has_them_too(mysql_stores: Pair, buckets: tuple[str, str]) -> None:
    await verify_copy(mysql_stores, buckets, is_shared=False)
    await mysql_stores.clear()


async def verify_copy(pair: Pair, buckets: tuple[str, str], is_shared: bool) -> None:
    here = buckets[0]
    there = here if is_shared else buckets[1]
    await pair.connect(pair.source, here)
    await pair.connect(pair.target, there)
    path = f"/stores/{pair.source}"
    small, large = await upload(pair.owner, path), await upload(pair.owner, path, LARGE, **PDF)
    made = {"sku": "P-1", "slug": f"p-{small['id']}", "name": "Mug"}
    product = (await pair.owner.post(f"{path}/products", made))["id"]
    shown = {"media": [large["id"], small["id"]]}
    await pair.owner.send("PUT", f"{path}/products/{product}/media", shown)
    await upload(pair.owner, f"/stores/{pair.target}", b"its own", kind="text/plain")
    told: list[Progress] = []
    pair.s3.gate.requests.clear()
    copied = await pair.clone(tell=told.append)
    reads = {uri for method, uri in pair.s3.gate.requests if method == "GET"}
    assert (reads == set()) is is_shared, "within a bucket the storage copies by itself"
    assert (copied.files, copied.size_bytes, copied.left) == (2, len(PNG) + len(LARGE), {})
    assert (told[-1].files, told[-1].size_bytes) == (told[-1].of_files, told[-1].of_bytes)
    found = await pair.verify_equal(here, there)
    assert found == {UUID(small["id"]): PNG, UUID(large["id"]): LARGE}
    pictures = await pair.owner.get(f"/stores/{pair.target}/products/{product}/media")
    assert [it["id"] for it in pictures["media"]] == shown["media"]
    async with httpx.AsyncClient(verify=TRUSTS_NOBODY) as http:
        read = await http.get(pictures["media"][0]["url"])
    assert hashlib.sha256(read.content).hexdigest() == large["sha256"]
    assert read.headers["content-type"] == PDF["kind"]
    assert read.headers["content-disposition"].startswith("inline; ")


async def test_files_of_the_same_id_are_counted_in_each_store(
    pair: Pair, buckets: tuple[str, str]
) -> None:
    here = buckets[0]
    await pair.connect(pair.source, here)
    await pair.connect(pair.target, here)
    path = f"/stores/{pair.source}"
    one, other = [UUID((await upload(pair.owner, path))["id"]) for _ in range(2)]
    await pair.clone()
    await pair.site.platform.media.delete(pair.source, one)
    assert await taken(pair.site, pair.source) == (len(PNG), 0)
    assert set(pair.objects(here, pair.target)) == {one, other}
    await pair.site.platform.media.delete(pair.target, one)
    await pair.verify_equal(here, here)


async def test_what_is_there_is_not_copied_again(pair: Pair, joined: tuple[str, str]) -> None:
    here, there = joined
    kept, gone = [await upload(pair.owner, f"/stores/{pair.source}") for _ in range(2)]
    await upload(pair.owner, f"/stores/{pair.source}", LARGE, **PDF)
    await pair.clone()
    await pair.site.platform.media.delete(pair.source, UUID(gone["id"]))
    pair.s3.gate.requests.clear()
    assert (await pair.clone()).files == 2
    assert {method for method, _ in pair.s3.gate.requests} == {"HEAD", "DELETE"}
    await pair.verify_equal(here, there)
    # An object of the right size that is another one is replaced.
    key = object_key(pair.target, UUID(kept["id"]))
    bucket = await pair.site.platform.media.storages.open(pair.target)
    await bucket.put(key, pieces(b"?" * len(PNG)), size_bytes=len(PNG), content_type="image/png")
    await pair.clone()
    await pair.verify_equal(here, there)


async def test_files_need_room_in_the_plan_before_any_is_copied(
    pair: Pair, joined: tuple[str, str]
) -> None:
    here, there = joined
    for _ in range(3):
        await upload(pair.owner, f"/stores/{pair.source}")
    own = await upload(pair.owner, f"/stores/{pair.target}")
    await fill_up(pair.site, pair.target, 3 * len(PNG) - 1)
    with pytest.raises(PlanLimitReached):
        await pair.clone()
    assert await taken(pair.site, pair.target) == (10**9 - 3 * len(PNG) + 1, 0)
    listed = (await pair.owner.get(f"/stores/{pair.target}/media"))["media"]
    assert [it["id"] for it in listed] == [own["id"]], "served as before"
    assert set(pair.objects(there, pair.target)) == {UUID(own["id"])}
    await fill_up(pair.site, pair.target, 3 * len(PNG))
    assert (await pair.clone()).files == 3
    await pair.verify_equal(here, there)


POINTS = (
    media_copies.HELD,
    media_copies.CARRIED,
    "fleet.copying:before_commit",
    COPIED,
    media.DELETED,
    media_copies.TIDIED,
    COUNTED,
)


@pytest.mark.parametrize("point", POINTS)
async def test_a_crash_is_made_good_by_a_repeat(
    pair: Pair, joined: tuple[str, str], point: str
) -> None:
    here, there = joined
    for _ in range(3):
        await upload(pair.owner, f"/stores/{pair.source}")
    await upload(pair.owner, f"/stores/{pair.target}")
    with crash_at(point), pytest.raises(FailpointReached):
        await pair.clone()
    refused = await pair.owner.refused("GET", f"/stores/{pair.target}/media")
    assert refused == (403, "tenant_suspended")
    assert await pair.site.platform.media.sweep(older_than_s=0) == 0, "not before it is served"
    assert (await pair.clone()).files == 3
    await pair.resume()
    assert len(await pair.verify_equal(here, there)) == 3
    assert await pair.site.platform.media.sweep(older_than_s=0) == 0


async def test_a_crash_that_nobody_repeats_leaves_the_store_as_it_was(
    pair: Pair, joined: tuple[str, str]
) -> None:
    _, there = joined
    await upload(pair.owner, f"/stores/{pair.source}")
    own = await upload(pair.owner, f"/stores/{pair.target}")
    with crash_at(media_copies.CARRIED), pytest.raises(FailpointReached):
        await pair.clone()
    await pair.resume()
    assert await pair.site.platform.media.sweep(older_than_s=0) == 2
    assert set(pair.objects(there, pair.target)) == {UUID(own["id"])}
    assert await taken(pair.site, pair.target) == (len(PNG), 0)


async def test_rows_that_are_refused_leave_no_file_and_nothing_held(
    pair: Pair, joined: tuple[str, str], tmp_path: Path
) -> None:
    _, there = joined
    await upload(pair.owner, f"/stores/{pair.source}")
    own = await upload(pair.owner, f"/stores/{pair.target}")
    path = tmp_path / "store.zip"
    await pair.site.platform.lifecycle.export(TenantId(pair.source), path)
    with pytest.raises(ArchiveUnfit, match="has rows"):
        await Copies(pair.site.platform).load(pair.target, path, files_of=pair.source)
    assert set(pair.objects(there, pair.target)) == {UUID(own["id"])}
    assert await taken(pair.site, pair.target) == (len(PNG), 0)
    assert await pair.site.platform.media.sweep(older_than_s=0) == 0


async def test_a_storage_that_goes_away_leaves_the_store_as_it_was(
    pair: Pair, joined: tuple[str, str]
) -> None:
    here, there = joined
    await upload(pair.owner, f"/stores/{pair.source}")
    own = await upload(pair.owner, f"/stores/{pair.target}")
    pair.s3.gate.is_away = True
    try:
        with pytest.raises(StorageUnreachable):
            await pair.clone()
    finally:
        pair.s3.gate.is_away = False
    listed = (await pair.owner.get(f"/stores/{pair.target}/media"))["media"]
    assert [it["id"] for it in listed] == [own["id"]]
    await pair.clone()
    await pair.verify_equal(here, there)


async def test_what_comes_and_goes_meanwhile_is_there_or_not_as_its_row_is(
    pair: Pair, joined: tuple[str, str]
) -> None:
    here, there = joined
    first = [await upload(pair.owner, f"/stores/{pair.source}") for _ in range(2)]
    reached = asyncio.Event()
    failpoints.observe(lambda name: reached.set() if name == media_copies.HELD else None)
    failpoints.arm(media_copies.HELD, Mode.STALL)
    task = asyncio.create_task(pair.clone())
    try:
        await reached.wait()
        await pair.site.platform.media.delete(pair.source, UUID(first[0]["id"]))
        await upload_one(pair.site, pair.source, new_id())
    finally:
        failpoints.observe(None)
        failpoints.disarm(media_copies.HELD)
    copied = await task
    assert (copied.files, copied.left) == (2, {})
    await pair.verify_equal(here, there)


async def test_a_copy_that_is_stopped_before_its_rows_come_leaves_the_store_served(
    pair: Pair, joined: tuple[str, str]
) -> None:
    here, there = joined
    await upload(pair.owner, f"/stores/{pair.source}")
    own = await upload(pair.owner, f"/stores/{pair.target}")
    async with stalled(media_copies.HELD, pair.clone()) as stopped:
        stopped.cancel()
    listed = (await pair.owner.get(f"/stores/{pair.target}/media"))["media"]
    assert [it["id"] for it in listed] == [own["id"]]
    await pair.clone()
    await pair.verify_equal(here, there)


async def test_a_file_that_is_not_what_its_row_says_is_left_and_told(
    pair: Pair, joined: tuple[str, str]
) -> None:
    _, there = joined
    good, lost, short, changed = [
        UUID((await upload(pair.owner, f"/stores/{pair.source}"))["id"]) for _ in range(4)
    ]
    bucket = await pair.site.platform.media.storages.open(pair.source)
    await bucket.delete(object_key(pair.source, lost))
    for media_id, body in ((short, b"x"), (changed, PNG[:-1] + b"?")):
        key = object_key(pair.source, media_id)
        await bucket.put(key, pieces(body), size_bytes=len(body), content_type="image/png")
    copied = await pair.clone()
    expected = {lost: "object_unknown", short: "file_differs", changed: "file_differs"}
    assert (copied.files, dict(copied.left)) == (1, expected)
    assert pair.objects(there, pair.target) == {good: PNG}
    assert await rows(pair.site, pair.target) == 1
    assert await taken(pair.site, pair.target) == (len(PNG), 0)


@pytest.mark.parametrize("is_shared", [True, False])
async def test_keys_that_may_not_list_their_bucket_are_enough(
    pair: Pair, buckets: tuple[str, str], is_shared: bool
) -> None:
    here = buckets[0]
    there = here if is_shared else buckets[1]
    keys = pair.s3.add_user(Keys("AKIANOLIST", "nolist", may_list=False))
    for store, bucket in ((pair.source, here), (pair.target, there)):
        await pair.connect(store, bucket, keys)
        await upload(pair.owner, f"/stores/{store}")
    assert (await pair.clone()).files == 1
    await pair.verify_equal(here, there)
    assert (await pair.clone()).files == 1


async def test_files_that_have_nowhere_to_go_keep_the_rows_away_unless_they_are_left(
    pair: Pair, buckets: tuple[str, str]
) -> None:
    await pair.connect(pair.source, buckets[0])
    await upload(pair.owner, f"/stores/{pair.source}")
    with pytest.raises(FilesHomeless):
        await pair.clone()
    assert (await pair.owner.get(f"/stores/{pair.target}/media"))["media"] == [], "served"
    copied = await pair.clone(with_files=False)
    assert (copied.files, await rows(pair.site, pair.target)) == (0, 0)
    await pair.connect(pair.target, buckets[1])
    await upload(pair.owner, f"/stores/{pair.target}")
    with pytest.raises(StorageInUse):
        await pair.clone(with_files=False)
    assert await rows(pair.site, pair.target) == 1


async def test_an_upload_that_may_still_go_on_keeps_the_copy_away(
    pair: Pair, joined: tuple[str, str]
) -> None:
    here, there = joined
    await upload(pair.owner, f"/stores/{pair.source}")
    with crash_at(media.STORED), pytest.raises(FailpointReached):
        await upload_one(pair.site, pair.target, new_id())
    with pytest.raises(FilesUnsettled):
        await pair.clone()
    assert (await pair.owner.get(f"/stores/{pair.target}/media"))["media"] == [], "served"
    older = "update usage_holds set created_at = created_at - interval '1 hour' where store_id = $1"
    await pair.site.value(f"{older} returning 1", pair.target)
    assert (await pair.clone()).files == 1
    await pair.verify_equal(here, there)


async def test_a_store_that_is_closed_takes_no_file_and_holds_none(
    pair: Pair, buckets: tuple[str, str]
) -> None:
    await pair.connect(pair.target, buckets[0])
    await pair.site.platform.lifecycle.suspend(TenantId(pair.target), "test")
    pair.s3.gate.requests.clear()
    with pytest.raises(Exception, match="suspended"):
        await upload_one(pair.site, pair.target, new_id())
    assert (pair.s3.gate.requests, await taken(pair.site, pair.target)) == ([], (0, 0))


async def test_after_all_that_the_invariants_hold(site: Site) -> None:
    await site.platform.gate.flush()
    report = await run_invariants(site.system.router, platform_invariants())
    assert report.holds, str(report)
