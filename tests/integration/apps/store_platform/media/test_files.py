"""Files of stores over the API: stored in a bucket, shown, bounded by plans, deleted."""

import hashlib
from collections.abc import AsyncIterator
from uuid import UUID

import httpx
import pytest
from tests.integration.apps.store_platform.media.files import (
    PNG,
    attempts,
    fill_up,
    rows,
    send,
    taken,
    upload,
    upload_one,
)
from tests.integration.apps.store_platform.platform import BASE, Caller, Site
from tests.integration.capabilities.storage.s3_server import S3Server
from tests.plain_http import TRUSTS_NOBODY

from bulkhead.apps.store_platform.master.metering.model import PlanLimitReached
from bulkhead.apps.store_platform.store.media.model import FILE_BYTES_MAX, object_key
from bulkhead.capabilities.storage.bucket import PART_BYTES
from bulkhead.engine.ids import new_id


async def test_a_file_is_stored_listed_read_changed_and_deleted(
    site: Site, s3: S3Server, owner: Caller, store: UUID, connected: str, bucket: str
) -> None:
    row = await upload(owner, connected, name="Été “naïve” 図.png")
    assert (row["size_bytes"], row["width"], row["height"]) == (len(PNG), 5, 7)
    assert row["sha256"] == hashlib.sha256(PNG).hexdigest()
    assert s3.objects(bucket) == {object_key(store, UUID(row["id"])): PNG}
    async with httpx.AsyncClient(verify=TRUSTS_NOBODY) as http:
        read = await http.get(row["url"])
    assert read.content == PNG
    assert read.headers["content-type"] == "image/png"
    assert read.headers["content-disposition"].startswith("inline; ")
    listed = await owner.get(f"{connected}/media")
    assert [it["id"] for it in listed["media"]] == [row["id"]]
    assert listed["next"] is None
    path = f"{connected}/media/{row['id']}"
    changed = await owner.send("PATCH", path, {"alt": "Another", "is_public": False})
    assert (changed.json()["alt"], changed.json()["is_public"]) == ("Another", False)
    assert (await owner.get(path))["file_name"] == "Été “naïve” 図.png"
    assert await taken(site, store) == (len(PNG), 0)
    assert (await owner.send("DELETE", path)).status_code == 204
    assert s3.objects(bucket) == {}
    assert await taken(site, store) == (0, 0)
    assert await owner.refused("DELETE", path) == (404, "not_found")
    [day] = (await owner.get(f"{connected}/usage"))["days"][:1]
    assert day["storage_uploaded_bytes"] >= len(PNG)
    assert day["storage_uploaded_bytes"] == day["storage_deleted_bytes"]
    shown = "select storage_used_bytes from stores where id = $1"
    assert await site.value(shown, store) == day["storage_total_bytes"] == 0


async def test_a_product_is_shown_with_files_in_their_order(owner: Caller, connected: str) -> None:
    first, second = await upload(owner, connected), await upload(owner, connected, name="b.png")
    made = {"sku": f"P-{first['id']}", "slug": f"p-{first['id']}", "name": "Mug"}
    product = (await owner.post(f"{connected}/products", made))["id"]
    path = f"{connected}/products/{product}/media"
    assert (await owner.get(path))["media"] == []
    for wish in ([second["id"], first["id"]], [first["id"], first["id"]], []):
        answer = await owner.send("PUT", path, {"media": wish})
        assert answer.status_code == 200, answer.text
        shown = (await owner.get(path))["media"]
        assert [it["id"] for it in shown] == list(dict.fromkeys(wish))
        assert all(it["url"].startswith("http") for it in shown)
    await owner.send("PUT", path, {"media": [first["id"], second["id"]]})
    assert (await owner.send("DELETE", f"{connected}/media/{first['id']}")).status_code == 204
    assert [it["id"] for it in (await owner.get(path))["media"]] == [second["id"]]
    unknown = await owner.refused("PUT", path, {"media": [first["id"]]})
    assert unknown == (409, "foreign_key_violated")
    assert [it["id"] for it in (await owner.get(path))["media"]] == [second["id"]]
    missing = path.replace(product, str(new_id()))
    assert await owner.refused("PUT", missing, {"media": []}) == (404, "not_found")
    assert await owner.refused("GET", missing) == (404, "not_found")
    assert await owner.refused("PUT", path, {"media": ["x"] * 101}) == (422, "request_invalid")
    await owner.send("DELETE", f"{connected}/products/{product}")


async def test_a_large_file_goes_through_in_parts(
    s3: S3Server, owner: Caller, store: UUID, connected: str, bucket: str
) -> None:
    body = b"%PDF-" + bytes(range(256)) * (2 * PART_BYTES // 256)
    row = await upload(owner, connected, body, kind="application/pdf")
    assert s3.objects(bucket)[object_key(store, UUID(row["id"]))] == body
    assert row["sha256"] == hashlib.sha256(body).hexdigest()
    assert s3.uploads(bucket) == 0


async def test_an_address_holds_for_as_long_as_it_says(
    s3: S3Server, owner: Caller, connected: str
) -> None:
    row = await upload(owner, connected)
    url = (await owner.get(f"{connected}/media/{row['id']}?expires_s=60"))["url"]
    try:
        async with httpx.AsyncClient(verify=TRUSTS_NOBODY) as http:
            s3.gate.ahead_s = 55
            assert (await http.get(url)).status_code == 200
            forged = url.replace("X-Amz-Expires=60", "X-Amz-Expires=600")
            assert (await http.get(forged)).status_code == 403
            s3.gate.ahead_s = 62
            assert (await http.get(url)).status_code == 403
    finally:
        s3.gate.ahead_s = 0
    for seconds in (0, -1, 7 * 86400 + 1):
        answer = await owner.refused("GET", f"{connected}/media/{row['id']}?expires_s={seconds}")
        assert answer == (422, "request_invalid")


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("page.html", "text/html"),
        ("drawing.svg", "image/svg+xml"),
        ('x"; filename=evil.html', "application/xhtml+xml"),
        ("a" * 251 + ".txt", "text/plain"),
    ],
)
async def test_what_a_browser_could_run_is_only_ever_downloaded(
    owner: Caller, connected: str, name: str, kind: str
) -> None:
    row = await upload(owner, connected, b"<script>alert(1)</script>", name=name, kind=kind)
    async with httpx.AsyncClient(verify=TRUSTS_NOBODY) as http:
        told = (await http.get(row["url"])).headers
    assert told["content-type"] == kind
    assert told["content-disposition"].startswith("attachment; ")
    assert told["content-disposition"].count('"') == 2


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("../../etc/passwd", 422),
        ("..", 422),
        ("", 422),
        ("a/b.png", 422),
        ("a\\b.png", 422),
        ("a\nb.png", 422),
        ("a\u202egnp.exe", 422),
        ("a" * 256, 422),
        ("ü" * 500, 422),
        ("a\0b.png", 400),
    ],
)
async def test_a_name_that_is_none_is_refused(
    site: Site, owner: Caller, store: UUID, connected: str, name: str, status: int
) -> None:
    assert (await send(owner, connected, name=name)).status_code == status
    assert await rows(site, store) == 0


WRONG = {
    "media_empty": (b"", "image/png"),
    "media_misnamed": (b"<html>", "image/png"),
    "media_misnamed ": (PNG, "image/jpeg"),
    "media_type_refused": (PNG, "multipart/form-data; boundary=x"),
    "media_type_refused ": (PNG, "image"),
    "media_type_refused  ": (PNG, ""),
    "media_type_refused   ": (PNG, "image/" + "x" * 200),
}


@pytest.mark.parametrize("code", WRONG)
async def test_a_file_that_is_not_what_it_says_is_refused_and_leaves_nothing(
    site: Site, s3: S3Server, owner: Caller, connected: str, bucket: str, code: str
) -> None:
    body, kind = WRONG[code]
    answer = await send(owner, connected, body, kind=kind)
    assert answer.json()["code"] == code.strip()
    store = UUID(connected.rpartition("/")[2])
    assert (s3.objects(bucket), await taken(site, store)) == ({}, (0, 0))
    assert await rows(site, store) == 0


async def test_a_file_that_is_too_large_is_refused_before_it_is_read(
    owner: Caller, connected: str
) -> None:
    async def endless() -> AsyncIterator[bytes]:
        raise AssertionError("nobody may read this")
        yield b""

    for headers in ({"content-length": str(FILE_BYTES_MAX + 1)}, {"transfer-encoding": "chunked"}):
        answer = await owner.http.post(
            f"{BASE}{connected}/media?file_name=a.png",
            content=endless(),
            headers={"authorization": f"Bearer {owner.token}", "expect": "100-continue", **headers},
        )
        assert answer.json()["code"] in {"body_too_large", "body_unmeasured"}


async def test_a_plan_allows_so_many_bytes_however_many_files_come_at_once(
    site: Site, s3: S3Server, store: UUID, connected: str, bucket: str
) -> None:
    await upload_one(site, store, new_id())
    before = await taken(site, store)
    await fill_up(site, store, 5 * len(PNG))
    found = await attempts([upload_one(site, store, new_id()) for _ in range(20)])
    assert sum(isinstance(each, dict) for each in found) == 5, found
    assert sum(isinstance(each, PlanLimitReached) for each in found) == 15
    assert len(s3.objects(bucket)) == 6
    assert await rows(site, store) == 6
    assert await taken(site, store) == (10**9, 0)
    sql = "update usage_counters set used = $2 where store_id = $1 and metric = 'storage_bytes'"
    await site.value(f"{sql} returning 1", store, before[0] + 5 * len(PNG))
