"""Files that come with an archive, or out of the bucket of an older application."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from uuid import UUID

import httpx
import pytest
from tests.integration.apps.store_platform.media.files import (
    PNG,
    pieces,
    taken,
    upload,
)
from tests.integration.apps.store_platform.media.pair import Pair
from tests.integration.apps.store_platform.platform import Site
from tests.integration.apps.store_platform.test_copies import config_of
from tests.integration.capabilities.storage.s3_server import REGION
from tests.plain_http import TRUSTS_NOBODY

from bulkhead.apps.store_platform.copies import Copies, Shared
from bulkhead.apps.store_platform.invariants import platform_invariants
from bulkhead.apps.store_platform.storage import StorageInUse
from bulkhead.apps.store_platform.store.media.model import object_key
from bulkhead.apps.store_platform.store.schema import METADATA
from bulkhead.capabilities.storage import StorageConfig
from bulkhead.engine.fleet.model import TenantId
from bulkhead.engine.fleet.rows import list_tables
from bulkhead.engine.fleet.split import open_shared
from bulkhead.engine.ids import new_id
from bulkhead.engine.monitoring.invariant import run_invariants


async def test_an_archive_brings_the_files_of_the_store_that_is_named(
    pair: Pair, buckets: tuple[str, str], tmp_path: Path
) -> None:
    pair = replace(pair, source=await pair.site.open_store(pair.owner))  # Its keys are destroyed.
    here, copies = buckets[0], Copies(pair.site.platform)
    await pair.connect(pair.source, here)
    await pair.connect(pair.target, here)
    rows_of = [UUID((await upload(pair.owner, f"/stores/{pair.source}"))["id"]) for _ in range(2)]
    path = tmp_path / "store.zip"
    await pair.site.platform.lifecycle.export(TenantId(pair.source), path)
    _, copied = await copies.load(pair.target, path, files_of=pair.source)
    assert copied.files == 2
    await pair.verify_equal(here, here)
    # Into the store itself: what is gone stays so, and what came after goes.
    await pair.site.platform.media.delete(pair.source, rows_of[0])
    late = await upload(pair.owner, f"/stores/{pair.source}")
    _, copied = await copies.load(pair.source, path, is_replacing=True, files_of=pair.source)
    assert dict(copied.left) == {rows_of[0]: "object_unknown"}
    assert set(pair.objects(here, pair.source)) == {rows_of[1]} != {UUID(late["id"])}
    assert await taken(pair.site, pair.source) == (len(PNG), 0)
    # A store that is no more has left its files in the bucket, below its id.
    former = new_id()
    bucket = await pair.site.platform.media.storages.open(pair.source)
    await bucket.copy(object_key(pair.source, rows_of[1]), object_key(former, rows_of[1]))
    _, copied = await copies.load(pair.target, path, is_replacing=True, files_of=former)
    assert copied.files == 2, "one is no more, and was there already"
    assert await taken(pair.site, pair.target) == (2 * len(PNG), 0)
    with pytest.raises(StorageInUse):
        await copies.load(pair.target, path, is_replacing=True)
    await pair.site.system.vault.shred(str(pair.source))
    _, copied = await copies.load(pair.target, path, is_replacing=True, files_of=pair.source)
    assert dict(copied.left) == {}, "what purges a store destroys what opens its bucket"


async def test_a_store_brings_its_files_from_the_bucket_of_an_older_application(
    pair: Pair, buckets: tuple[str, str]
) -> None:
    legacy = there = buckets[0]  # Even so the storage does not copy what was put by others.
    await pair.connect(pair.target, there)
    kinds = {
        "2019/mug.png": (PNG, "image/png"),
        "page.html": (b"<script>1</script>", "text/html"),
        "not-a-picture.png": (b"<script>2</script>", "image/png"),
        "../evil": (b"x", "text/plain"),
    }
    keys = StorageConfig.s3(
        legacy, REGION, pair.s3.keys.access_key_id, pair.s3.keys.secret, endpoint=pair.s3.url
    )
    bucket = await pair.site.platform.media.storages.buckets.open(keys)
    ids = {key: new_id() for key in kinds}
    async with pair.site.platform.fleet.transaction(TenantId(pair.source)) as db:
        for key, (body, kind) in kinds.items():
            await db.execute(
                "insert into media_library (id, storage_key, file_name, content_type, size_bytes)"
                " values ($1, $2, 'a', $3, $4)",
                [ids[key], key, kind, len(body)],
            )
            if ".." not in key:
                # As an older application might: everything is shown in place.
                await bucket.put(key, pieces(body), size_bytes=len(body), content_type="text/html")
    older = await config_of(pair.site, pair.source)
    async with open_shared(older) as db:
        names = {table.name for table in await list_tables(db)}
    others = names & METADATA.tables.keys() - {"media_library"}
    shared = Shared(older, "a", "file_name", left=others, files=keys)
    copied = await Copies(pair.site.platform).split(pair.target, shared)
    left = {ids["not-a-picture.png"]: "media_misnamed", ids["../evil"]: "object_name_refused"}
    assert (copied.files, dict(copied.left)) == (2, left)
    found = pair.objects(there, pair.target)
    assert set(found) == {ids["2019/mug.png"], ids["page.html"]}
    [url] = await pair.site.platform.media.sign(pair.target, [ids["page.html"]])
    async with httpx.AsyncClient(verify=TRUSTS_NOBODY) as http:
        told = (await http.get(url)).headers
    assert told["content-disposition"].startswith("attachment; ")
    async with pair.site.platform.fleet.transaction(TenantId(pair.source)) as db:
        await db.execute("delete from media_library", [])


async def test_after_all_that_the_invariants_hold(site: Site) -> None:
    await site.platform.gate.flush()
    report = await run_invariants(site.system.router, platform_invariants())
    assert report.holds, str(report)
