"""What the tests of files have in common."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Sequence
from typing import Any
from uuid import UUID

import httpx
from tests.integration.apps.store_platform.platform import BASE, Caller, Site
from tests.integration.capabilities.storage.s3_server import REGION, Keys, S3Server

from bulkhead.apps.store_platform.store.media.model import NewFile

PNG = (
    bytes.fromhex("89504e470d0a1a0a0000000d49484452000000050000000708020000008edc2c5e") + b"x" * 60
)


def config(s3: S3Server, bucket: str, keys: Keys | None = None) -> dict[str, Any]:
    keys = keys or s3.keys
    return {
        "storageType": "aws-s3",
        "config": {
            "bucket": bucket,
            "region": REGION,
            "endpoint": s3.url,
            "accessKeyId": keys.access_key_id,
            "secretAccessKey": keys.secret,
        },
    }


async def forget_limits(site: Site) -> None:
    """Let users try as many storages as a test has."""
    await site.value("delete from private.rate_limits returning key")


async def send(
    owner: Caller, path: str, body: bytes = PNG, name: str = "a.png", kind: str = "image/png"
) -> httpx.Response:
    headers = {"authorization": f"Bearer {owner.token}", "content-type": kind}
    params = {"file_name": name, "alt": "A picture"}
    return await owner.http.post(
        f"{BASE}{path}/media", content=body, params=params, headers=headers
    )


async def upload(owner: Caller, path: str, body: bytes = PNG, **said: str) -> dict[str, Any]:
    answer = await send(owner, path, body, **said)
    assert answer.status_code == 201, answer.text
    row: dict[str, Any] = answer.json()
    return row


async def taken(site: Site, store: UUID) -> tuple[int, int]:
    sql = "select coalesce(max({}), 0) from usage_counters where store_id = $1 and metric = $2"
    used = await site.value(sql.format("used"), store, "storage_bytes")
    return used, await site.value(sql.format("held"), store, "storage_bytes")


async def limit(site: Site, store: UUID, gigabytes: int) -> None:
    sql = "update subscriptions set max_storage_gb = $2 where store_id = $1 returning 1"
    assert await site.value(sql, store, gigabytes) == 1


async def fill_up(site: Site, store: UUID, left: int) -> None:
    """Let all but `left` bytes of a gigabyte be used, as if by files of long ago."""
    await limit(site, store, 1)
    sql = "update usage_counters set used = $2 where store_id = $1 and metric = 'storage_bytes'"
    await site.value(f"{sql} returning 1", store, 10**9 - left)


async def rows(site: Site, store: UUID) -> int:
    async with site.platform.fleet.connection(store) as db:  # type: ignore[arg-type]
        return int(await db.fetch_value("select count(*) from media_library"))


async def attempts(tries: Sequence[Awaitable[object]]) -> list[object]:
    """What became of each of some attempts that are made at once."""
    tasks = [asyncio.ensure_future(each) for each in tries]
    await asyncio.wait(tasks)
    return [task.exception() or task.result() for task in tasks]


async def pieces(body: bytes) -> AsyncIterator[bytes]:
    for at in range(0, len(body), 65_536):
        yield body[at : at + 65_536]


async def upload_one(site: Site, store: UUID, key: UUID, body: bytes = PNG) -> dict[str, Any]:
    file = NewFile("a.png", "image/png", len(body))
    return await site.platform.media.upload(store, key, file, pieces(body))
