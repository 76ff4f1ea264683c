"""A store with files, and one that becomes a copy of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from tests.integration.apps.store_platform.media.files import (
    config,
    forget_limits,
    limit,
    taken,
)
from tests.integration.apps.store_platform.platform import Caller, Site
from tests.integration.capabilities.storage.s3_server import Keys, S3Server

from bulkhead.apps.store_platform.copies import Copied, Copies
from bulkhead.apps.store_platform.store.media.model import object_key
from bulkhead.engine.fleet.model import TenantId, TenantState


@dataclass(frozen=True)
class Pair:
    """A store with files, and one that becomes a copy of it."""

    site: Site
    s3: S3Server
    owner: Caller
    source: UUID
    target: UUID

    async def connect(self, store: UUID, bucket: str, keys: Keys | None = None) -> None:
        await forget_limits(self.site)
        wish = config(self.s3, bucket, keys)
        answer = await self.owner.send("PUT", f"/stores/{store}/storage", wish)
        assert answer.status_code == 200, answer.text

    async def clone(self, **said: Any) -> Copied:
        return await Copies(self.site.platform).clone(self.source, self.target, **said)

    def objects(self, bucket: str, store: UUID) -> dict[UUID, bytes]:
        """The files of a store in a bucket; nothing else of it may be there."""
        folder = f"stores/{store}/"
        found = {k: v for k, v in self.s3.objects(bucket).items() if k.startswith(folder)}
        assert all(key.startswith(f"{folder}media/") for key in found)
        return {UUID(key.rpartition("/")[2]): body for key, body in found.items()}

    async def verify_equal(self, here: str, there: str) -> dict[UUID, bytes]:
        """Both have the same files, and what is counted is what is there."""
        found = self.objects(there, self.target)
        assert found == self.objects(here, self.source)
        async with self.site.platform.fleet.connection(TenantId(self.target)) as db:
            told = await db.fetch("select storage_key from media_library")
        assert {row["storage_key"] for row in told} == {
            object_key(self.target, media) for media in found
        }
        assert await taken(self.site, self.target) == (sum(map(len, found.values())), 0)
        return found

    async def resume(self) -> None:
        row = await self.site.platform.fleet.describe(TenantId(self.target))
        if row.state is TenantState.SUSPENDED:
            await self.site.platform.lifecycle.resume(TenantId(self.target))

    async def clear(self) -> None:
        """Have no files any more, and no storages."""
        await self.resume()
        await self.site.platform.media.sweep(older_than_s=0)
        for store in (self.source, self.target):
            await limit(self.site, store, 1)
            for row in (await self.owner.get(f"/stores/{store}/products"))["products"]:
                await self.owner.send("DELETE", f"/stores/{store}/products/{row['id']}")
            async with self.site.platform.fleet.connection(TenantId(store)) as db:
                found = [row["id"] for row in await db.fetch("select id from media_library")]
            for media_id in found:
                await self.site.platform.media.delete(store, UUID(str(media_id)))
            assert (await self.owner.send("DELETE", f"/stores/{store}/storage")).status_code in {
                204,
                409,
            }
