"""Files that browsers put to the storage themselves: only what was said is kept of what is put."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

import httpx
import pytest
from tests.integration.apps.store_platform.media.files import (
    PNG,
    config,
    fill_up,
    limit,
    rows,
    taken,
    upload,
)
from tests.integration.apps.store_platform.platform import Caller, Site, at_once
from tests.integration.capabilities.storage.s3_server import Keys, S3Server
from tests.integration.engine.fleet.stalled import stalled
from tests.plain_http import TRUSTS_NOBODY

from bulkhead.apps.store_platform import media
from bulkhead.apps.store_platform.media_uploads import CLAIMED, LOOKED, Uploads
from bulkhead.apps.store_platform.store.media.model import (
    FILE_BYTES_MAX,
    NewFile,
    object_key,
    staged_key,
)
from bulkhead.engine import failpoints
from bulkhead.engine.failpoints import FailpointReached, Mode
from bulkhead.engine.ids import new_id
from bulkhead.engine.testing import crash_at

PICTURE = {"file_name": "Größe.png", "content_type": "image/png", "size_bytes": len(PNG)}
HTML = b"<script>alert(1)</script>"
PAGE = {"file_name": "page.html", "content_type": "text/html", "size_bytes": len(HTML)}


@pytest.fixture(scope="module")
async def store(site: Site, owner: Caller) -> UUID:
    return await site.open_store(owner)


async def put(told: dict[str, Any], body: bytes, **headers: str) -> int:
    """Do as a browser that was told to; `headers` are other ones instead."""
    async with httpx.AsyncClient(verify=TRUSTS_NOBODY) as http:
        answer = await http.request(
            told["method"], told["url"], content=body, headers=headers or told["headers"]
        )
    return answer.status_code


async def complete(
    owner: Caller, told: dict[str, Any], said: dict[str, Any] = PICTURE
) -> tuple[int, dict[str, Any]]:
    answer = await owner.send("POST", told["complete"].removeprefix("/store_platform"), said)
    return answer.status_code, answer.json()


async def test_a_file_goes_straight_to_the_storage_and_is_one_when_it_is_completed(
    site: Site, s3: S3Server, owner: Caller, store: UUID, connected: str, bucket: str
) -> None:
    said = {**PICTURE, "alt": "A picture", "is_public": False}
    told = await owner.post(f"{connected}/media/uploads", said)
    assert await taken(site, store) == (0, len(PNG))
    assert (await owner.get(f"{connected}/media"))["media"] == []
    code, refused = await complete(owner, told, said)
    assert (code, refused["code"]) == (409, "upload_missing")
    assert await put(told, PNG) == 200
    s3.gate.requests.clear()
    code, row = await complete(owner, told, said)
    assert code == 201, row
    assert (row["id"], row["file_name"], row["alt"]) == (told["id"], "Größe.png", "A picture")
    assert (row["is_public"], row["width"], row["height"]) == (False, 5, 7)
    assert s3.objects(bucket) == {object_key(store, UUID(row["id"])): PNG}
    assert await taken(site, store) == (len(PNG), 0)
    async with httpx.AsyncClient(verify=TRUSTS_NOBODY) as http:
        read = await http.get(row["url"])
    assert (read.content, read.headers["content-type"]) == (PNG, "image/png")
    code, again = await complete(owner, told, said)
    assert (code, again["id"]) == (201, row["id"]), "it may be repeated"
    assert (await owner.send("DELETE", f"{connected}/media/{row['id']}")).status_code == 204
    assert (s3.objects(bucket), await taken(site, store)) == ({}, (0, 0))


async def test_whoever_has_the_address_can_put_there_for_a_while_and_change_no_file(
    s3: S3Server, owner: Caller, store: UUID, connected: str, bucket: str
) -> None:
    told = await owner.post(f"{connected}/media/uploads", PICTURE)
    async with httpx.AsyncClient(verify=TRUSTS_NOBODY) as http:
        assert (await http.get(told["url"])).status_code == 403
        elsewhere = told["url"].replace(
            staged_key(store, UUID(told["id"])), object_key(store, new_id())
        )
        assert (await http.put(elsewhere, content=PNG)).status_code == 403
    s3.gate.ahead_s = told["expires_s"] + 1
    try:
        assert await put(told, PNG) == 403
    finally:
        s3.gate.ahead_s = 0
    assert await put(told, PNG) == 200
    code, row = await complete(owner, told)
    assert code == 201, row
    assert await put(told, HTML) == 200
    assert s3.objects(bucket)[object_key(store, UUID(row["id"]))] == PNG
    code, again = await complete(owner, told)
    assert (code, again["sha256"], again["size_bytes"]) == (201, row["sha256"], len(PNG))
    assert s3.objects(bucket)[object_key(store, UUID(row["id"]))] == PNG


@dataclass(eq=False)
class LateAt(media.Places):
    """Places of which one gets free when something has happened."""

    happen: Callable[[], Awaitable[object]] | None = None

    @asynccontextmanager
    async def taken(self, store: UUID) -> AsyncIterator[None]:
        assert self.happen is not None
        await self.happen()
        async with media.Places.taken(self, store):
            yield


async def test_whoever_completes_what_another_has_just_completed_gets_the_file(
    site: Site, owner: Caller, store: UUID, connected: str
) -> None:
    told = await owner.post(f"{connected}/media/uploads", PICTURE)
    assert await put(told, PNG) == 200
    late = LateAt(happen=lambda: complete(owner, told))
    uploads = Uploads(replace(site.platform.media, places=late))
    row = await uploads.complete(
        store, UUID(told["id"]), NewFile("Größe.png", "image/png", len(PNG))
    )
    assert str(row["id"]) == told["id"]
    assert await taken(site, store) == (len(PNG), 0)


LIES: dict[str, tuple[bytes, dict[str, str], str]] = {
    "larger": (PNG + b"x", {}, "upload_differs"),
    "smaller": (PNG[:-1], {}, "upload_differs"),
    "another type": (PNG, {"content-type": "text/html"}, "upload_differs"),
    "no type": (PNG, {"x-none": ""}, "upload_differs"),
    "no picture": (b"<script>".ljust(len(PNG)), {}, "media_misnamed"),
}


@pytest.mark.parametrize("lie", LIES)
async def test_what_is_not_what_was_said_is_refused_and_deleted(
    site: Site, s3: S3Server, owner: Caller, connected: str, bucket: str, lie: str
) -> None:
    store, (body, headers, expected) = UUID(connected.rpartition("/")[2]), LIES[lie]
    kept = await upload(owner, connected)
    told = await owner.post(f"{connected}/media/uploads", PICTURE)
    assert await put(told, body, **headers) == 200
    code, refused = await complete(owner, told)
    assert (code, refused["code"]) == (422, expected)
    assert list(s3.objects(bucket)) == [object_key(store, UUID(kept["id"]))]
    assert (await rows(site, store), await taken(site, store)) == (1, (len(PNG), 0))
    code, refused = await complete(owner, told)
    assert (code, refused["code"]) == (404, "upload_unknown")


@pytest.mark.parametrize("may_copy", [True, False])
async def test_what_is_put_again_after_it_was_looked_at_is_refused(
    site: Site, s3: S3Server, owner: Caller, connected: str, bucket: str, may_copy: bool
) -> None:
    store = UUID(connected.rpartition("/")[2])
    keys = s3.add_user(Keys(f"AKIAAGAIN{may_copy:d}", "again", may_copy=may_copy))
    assert (await owner.send("PUT", f"{connected}/storage", config(s3, bucket, keys))).is_success
    told = await owner.post(f"{connected}/media/uploads", PICTURE)
    assert await put(told, PNG) == 200
    reached = asyncio.Event()
    failpoints.observe(lambda name: reached.set() if name == LOOKED else None)
    failpoints.arm(LOOKED, Mode.STALL)
    task = asyncio.create_task(complete(owner, told))
    try:
        await reached.wait()
        page = HTML.ljust(len(PNG))
        assert await put(told, page, **{"content-type": "text/html"}) == 200
    finally:
        failpoints.observe(None)
        failpoints.disarm(LOOKED)
    code, refused = await task
    assert (code, refused["code"]) == (422, "upload_differs")
    assert (s3.objects(bucket), await rows(site, store)) == ({}, 0)
    assert await taken(site, store) == (0, 0)


async def test_another_size_than_was_reserved_is_refused(
    site: Site, owner: Caller, store: UUID, connected: str
) -> None:
    told = await owner.post(f"{connected}/media/uploads", {**PICTURE, "size_bytes": 1})
    assert await put(told, PNG) == 200
    code, refused = await complete(owner, told)
    assert (code, refused["code"]) == (422, "upload_differs")
    assert (await rows(site, store), await taken(site, store)) == (0, (0, 0))


@pytest.mark.parametrize("has_headers", [True, False])
async def test_what_a_browser_could_run_is_only_ever_downloaded(
    owner: Caller, connected: str, has_headers: bool
) -> None:
    told = await owner.post(f"{connected}/media/uploads", PAGE)
    headers = told["headers"] if has_headers else {"content-type": "text/html"}
    assert await put(told, HTML, **headers) == 200
    code, row = await complete(owner, told, PAGE)
    assert code == 201, row
    async with httpx.AsyncClient(verify=TRUSTS_NOBODY) as http:
        read = await http.get(row["url"])
    assert (read.content, read.headers["content-type"]) == (HTML, "text/html")
    assert read.headers["content-disposition"].startswith("attachment; ")


async def test_where_the_storage_copies_nothing_the_platform_does(
    s3: S3Server, owner: Caller, store: UUID, connected: str, bucket: str
) -> None:
    keys = s3.add_user(Keys("AKIANOCOPY", "nocopy", may_copy=False))
    assert (await owner.send("PUT", f"{connected}/storage", config(s3, bucket, keys))).is_success
    told = await owner.post(f"{connected}/media/uploads", PICTURE)
    assert await put(told, PNG) == 200
    code, row = await complete(owner, told)
    assert (code, row["sha256"]) == (201, hashlib.sha256(PNG).hexdigest())
    assert s3.objects(bucket) == {object_key(store, UUID(row["id"])): PNG}


async def test_keys_that_may_not_list_their_bucket_are_enough(
    s3: S3Server, owner: Caller, connected: str, bucket: str
) -> None:
    keys = s3.add_user(Keys("AKIANOLIST", "nolist", may_list=False))
    assert (await owner.send("PUT", f"{connected}/storage", config(s3, bucket, keys))).is_success
    told = await owner.post(f"{connected}/media/uploads", PICTURE)
    assert (await complete(owner, told))[1]["code"] == "upload_missing"
    assert await put(told, PNG) == 200
    assert (await complete(owner, told))[0] == 201


async def test_a_plan_allows_so_much_to_be_reserved_and_what_nobody_completes_is_given_back(
    site: Site, s3: S3Server, owner: Caller, store: UUID, connected: str, bucket: str
) -> None:
    await upload(owner, connected)
    await fill_up(site, store, len(PNG))
    told = await owner.post(f"{connected}/media/uploads", PICTURE)
    refused = await owner.refused("POST", f"{connected}/media/uploads", PICTURE)
    assert refused == (402, "plan_limit_reached")
    assert await put(told, PNG) == 200
    assert await site.platform.media.sweep() == 0, "it may still be completed"
    assert await site.platform.media.sweep(older_than_s=0) == 1
    assert staged_key(store, UUID(told["id"])) not in s3.objects(bucket)
    assert (await complete(owner, told))[1]["code"] == "upload_unknown"
    assert await taken(site, store) == (10**9 - len(PNG), 0)
    await limit(site, store, 1)
    sql = "update usage_counters set used = $2 where store_id = $1 and metric = 'storage_bytes'"
    await site.value(f"{sql} returning 1", store, len(PNG))


@pytest.mark.parametrize("point", [CLAIMED, media.STORED, media.NOTED])
async def test_a_crash_while_it_is_completed_leaves_all_of_a_file_or_nothing(
    site: Site, s3: S3Server, owner: Caller, connected: str, bucket: str, point: str
) -> None:
    store = UUID(connected.rpartition("/")[2])
    told = await owner.post(f"{connected}/media/uploads", PICTURE)
    assert await put(told, PNG) == 200
    uploads, file = Uploads(site.platform.media), NewFile("a.png", "image/png", len(PNG))
    with crash_at(point), pytest.raises(FailpointReached):
        await uploads.complete(store, UUID(told["id"]), file)
    code, answer = await complete(owner, told)
    assert (code, answer.get("code")) == (
        (201, None) if point == media.NOTED else (409, "upload_underway")
    )
    assert await site.platform.media.sweep(older_than_s=0) == 1
    whole = 1 if point == media.NOTED else 0
    assert await rows(site, store) == len(s3.objects(bucket)) == whole
    assert await taken(site, store) == (whole * len(PNG), 0)


async def test_what_a_process_was_completing_when_it_was_stopped_the_next_one_completes(
    site: Site, owner: Caller, connected: str
) -> None:
    told = await owner.post(f"{connected}/media/uploads", PICTURE)
    assert await put(told, PNG) == 200
    uploads, file = Uploads(site.platform.media), NewFile("a.png", "image/png", len(PNG))
    store, upload = UUID(connected.rpartition("/")[2]), UUID(told["id"])
    async with stalled(LOOKED, uploads.complete(store, upload, file)) as stopped:
        stopped.cancel()
    assert (await complete(owner, told))[0] == 201


async def test_a_storage_that_is_away_is_asked_again(
    site: Site, s3: S3Server, owner: Caller, store: UUID, connected: str
) -> None:
    told = await owner.post(f"{connected}/media/uploads", PICTURE)
    assert await put(told, PNG) == 200
    s3.gate.is_away = True
    try:
        assert (await complete(owner, told))[0] == 503
    finally:
        s3.gate.is_away = False
    assert (await complete(owner, told))[0] == 201
    assert await taken(site, store) == (len(PNG), 0)


async def test_several_that_complete_at_once_make_one_file(
    site: Site, s3: S3Server, owner: Caller, store: UUID, connected: str, bucket: str
) -> None:
    told = await owner.post(f"{connected}/media/uploads", PICTURE)
    assert await put(told, PNG) == 200
    path = told["complete"].removeprefix("/store_platform")
    answers = await at_once(owner.send("POST", path, PICTURE) for _ in range(6))
    codes = {answer.status_code for answer in answers}
    assert 201 in codes
    assert codes <= {201, 409}
    assert s3.objects(bucket) == {object_key(store, UUID(told["id"])): PNG}
    assert (await rows(site, store), await taken(site, store)) == (1, (len(PNG), 0))


async def test_what_no_file_can_be_is_not_reserved(
    site: Site, owner: Caller, store: UUID, connected: str
) -> None:
    wrong: dict[str, dict[str, Any]] = {
        "request_invalid": {"size_bytes": 0},
        "request_invalid ": {"file_name": "../a"},
        "request_invalid  ": {"storage_key": "x"},
        "media_too_large": {"size_bytes": FILE_BYTES_MAX + 1},
        "media_type_refused": {"content_type": "multipart/form-data; boundary=x"},
    }
    for code, change in wrong.items():
        refused = await owner.refused("POST", f"{connected}/media/uploads", {**PICTURE, **change})
        assert refused[1] == code.strip(), change
    unknown = await owner.refused("POST", f"{connected}/media/uploads/{new_id()}", PICTURE)
    assert unknown == (404, "upload_unknown")
    assert await taken(site, store) == (0, 0)
