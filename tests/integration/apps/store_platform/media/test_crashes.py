"""Files of stores when processes die and storages are away: nothing is left behind or lost."""

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID

import pytest
from tests.integration.apps.store_platform.media.files import (
    PNG,
    attempts,
    config,
    rows,
    send,
    taken,
    upload,
    upload_one,
)
from tests.integration.apps.store_platform.platform import Caller, Site
from tests.integration.capabilities.storage.s3_server import Keys, S3Server

from bulkhead.apps.store_platform import media
from bulkhead.apps.store_platform.invariants import platform_invariants
from bulkhead.apps.store_platform.store.media.model import NewFile
from bulkhead.capabilities.storage import StorageUnreachable
from bulkhead.capabilities.storage.bucket import PART_BYTES
from bulkhead.engine.errors import NotFound
from bulkhead.engine.failpoints import FailpointReached
from bulkhead.engine.ids import new_id
from bulkhead.engine.monitoring.invariant import run_invariants
from bulkhead.engine.testing import crash_at


@pytest.mark.parametrize("point", [media.HELD, media.STORED, media.NOTED], ids=str)
async def test_a_crash_in_the_middle_of_an_upload_leaves_all_of_a_file_or_nothing(
    site: Site, s3: S3Server, store: UUID, connected: str, bucket: str, point: str
) -> None:
    with crash_at(point), pytest.raises(FailpointReached):
        await upload_one(site, store, new_id())
    assert await taken(site, store) == (0, len(PNG))
    assert len(s3.objects(bucket)) == (0 if point == media.HELD else 1)
    assert await site.platform.media.sweep() == 0, "whoever uploads may still be at it"
    assert await site.platform.media.sweep(older_than_s=0) == 1
    whole = 1 if point == media.NOTED else 0
    assert len(s3.objects(bucket)) == await rows(site, store) == whole
    assert await taken(site, store) == (whole * len(PNG), 0)
    assert await site.platform.media.sweep(older_than_s=0) == 0


@pytest.mark.parametrize("point", [media.HELD, media.FORGOTTEN, media.DELETED], ids=str)
async def test_a_crash_in_the_middle_of_a_deletion_leaves_all_of_a_file_or_nothing(
    site: Site, s3: S3Server, store: UUID, connected: str, bucket: str, point: str
) -> None:
    key = new_id()
    await upload_one(site, store, key)
    with crash_at(point), pytest.raises(FailpointReached):
        await site.platform.media.delete(store, key)
    assert await taken(site, store) == (len(PNG), 0)
    await site.platform.media.sweep(older_than_s=0)
    whole = 1 if point == media.HELD else 0
    assert len(s3.objects(bucket)) == await rows(site, store) == whole
    assert await taken(site, store) == (whole * len(PNG), 0)
    if whole:
        await site.platform.media.delete(store, key)
    assert await taken(site, store) == (0, 0)


async def test_a_file_that_nobody_came_to_count_is_counted_when_it_is_deleted(
    site: Site, s3: S3Server, store: UUID, connected: str, bucket: str
) -> None:
    kept, key = new_id(), new_id()
    await upload_one(site, store, kept)
    with crash_at(media.NOTED), pytest.raises(FailpointReached):
        await upload_one(site, store, key)
    await site.platform.media.delete(store, key)
    assert await taken(site, store) == (len(PNG), 0)
    await site.platform.media.sweep(older_than_s=0)
    assert await taken(site, store) == (len(PNG), 0)
    assert len(s3.objects(bucket)) == 1


async def test_a_crash_of_the_sweep_is_made_good_by_the_next(
    site: Site, s3: S3Server, store: UUID, connected: str, bucket: str
) -> None:
    with crash_at(media.STORED), pytest.raises(FailpointReached):
        await upload_one(site, store, new_id())
    with crash_at(media.DELETED), pytest.raises(ExceptionGroup):
        await site.platform.media.sweep(older_than_s=0)
    assert (s3.objects(bucket), await taken(site, store)) == ({}, (0, len(PNG)))
    assert await site.platform.media.sweep(older_than_s=0) == 1
    assert await taken(site, store) == (0, 0)


async def test_a_file_that_several_delete_at_once_is_counted_once(
    site: Site, store: UUID, connected: str
) -> None:
    kept, key = new_id(), new_id()
    await upload_one(site, store, kept)
    await upload_one(site, store, key)
    found = await attempts([site.platform.media.delete(store, key) for _ in range(6)])
    assert sum(each is None for each in found) == 1
    assert sum(isinstance(each, NotFound) for each in found) == 5
    assert await taken(site, store) == (len(PNG), 0)


async def test_who_leaves_in_the_middle_of_an_upload_leaves_nothing(
    site: Site, s3: S3Server, store: UUID, connected: str, bucket: str
) -> None:
    for size in (200_000, 2 * PART_BYTES):

        async def leaving(size: int = size) -> AsyncIterator[bytes]:
            yield PNG + b"y" * (size - len(PNG) - 10)
            raise ConnectionResetError

        file = NewFile("a.png", "image/png", size)
        with pytest.raises(ConnectionResetError):
            await site.platform.media.upload(store, new_id(), file, leaving())
    await site.platform.media.sweep(older_than_s=0)
    assert (s3.objects(bucket), s3.uploads(bucket)) == ({}, 0)
    assert await taken(site, store) == (0, 0)


async def test_keys_that_are_taken_back_refuse_and_hold_nothing(
    site: Site, s3: S3Server, owner: Caller, store: UUID, connected: str, bucket: str
) -> None:
    keys = s3.add_user(Keys("AKIAHALF", "half"))
    assert (await owner.send("PUT", f"{connected}/storage", config(s3, bucket, keys))).is_success
    row = await upload(owner, connected)
    s3.gate.users.pop("AKIAHALF")
    answer = await send(owner, connected)
    assert (answer.status_code, answer.json()["code"]) == (422, "storage_credentials_refused")
    assert "half" not in answer.text
    assert await taken(site, store) == (len(PNG), 0)
    # It is gone for the store at once; its object and what it counts follow with the next keys.
    assert (await owner.send("DELETE", f"{connected}/media/{row['id']}")).status_code == 204
    assert await taken(site, store) == (len(PNG), 0)
    assert await owner.refused("POST", f"{connected}/storage/test") == (
        422,
        "storage_credentials_refused",
    )
    shown = await owner.get(f"{connected}/storage")
    assert (shown["status"], shown["config"]["bucket"]) == ("failed", bucket)
    assert (await owner.get(connected))["storage_status"] == "failed"
    assert (await owner.send("PUT", f"{connected}/storage", config(s3, bucket))).is_success
    assert await site.platform.media.sweep(older_than_s=0) == 1
    assert (s3.objects(bucket), await taken(site, store)) == ({}, (0, 0))
    assert (await owner.get(connected))["storage_status"] == "active"


async def test_a_storage_that_is_away_is_waited_for(
    site: Site, s3: S3Server, store: UUID, connected: str, bucket: str
) -> None:
    s3.gate.is_away = True
    try:
        with pytest.raises(StorageUnreachable):
            await upload_one(site, store, new_id())
        assert await taken(site, store) == (0, len(PNG)), "nobody knows whether it was stored"
        assert await site.platform.media.sweep(older_than_s=0) == 0
    finally:
        s3.gate.is_away = False
    assert await site.platform.media.sweep(older_than_s=0) == 1
    assert await taken(site, store) == (0, 0)


async def test_a_store_keeps_its_bucket_while_it_has_files(
    site: Site, s3: S3Server, owner: Caller, store: UUID, connected: str, bucket: str
) -> None:
    other = f"{bucket}-other"
    s3.make_bucket(other)
    key = new_id()
    with crash_at(media.HELD), pytest.raises(FailpointReached):
        await upload_one(site, store, key)  # Only held yet; it may be stored any moment.
    refused = await owner.refused("PUT", f"{connected}/storage", config(s3, other))
    assert refused == (409, "storage_in_use")
    assert await owner.refused("DELETE", f"{connected}/storage") == (409, "storage_in_use")
    await site.platform.media.sweep(older_than_s=0)
    assert (await owner.send("PUT", f"{connected}/storage", config(s3, other))).is_success


async def test_uploads_wait_for_a_place_and_one_store_does_not_take_all() -> None:
    places, store = media.Places(), new_id()
    entered, go = 0, asyncio.Event()

    async def take(store: UUID) -> None:
        nonlocal entered
        async with places.taken(store):
            entered += 1
            await go.wait()

    async with asyncio.TaskGroup() as group:
        for _ in range(media.UPLOADS_OF_STORE_MAX + 4):
            group.create_task(take(store))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert entered == media.UPLOADS_OF_STORE_MAX
        group.create_task(take(new_id()))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert entered == media.UPLOADS_OF_STORE_MAX + 1
        go.set()
    assert entered == media.UPLOADS_OF_STORE_MAX + 5


async def test_after_all_that_the_invariants_hold(site: Site) -> None:
    await site.platform.gate.flush()
    report = await run_invariants(site.system.router, platform_invariants())
    assert report.holds, str(report)
