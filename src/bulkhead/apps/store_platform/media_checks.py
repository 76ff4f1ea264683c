"""Whether the files of a store are in its bucket as their rows say."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from bulkhead.apps.store_platform.master.metering.model import Metric
from bulkhead.apps.store_platform.master.metering.service import list_open
from bulkhead.apps.store_platform.store.media import service as library
from bulkhead.apps.store_platform.store.media.model import object_key
from bulkhead.capabilities.storage import ObjectUnknown
from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.fleet.model import TenantId
from bulkhead.engine.fleet.parallel import in_parallel

if TYPE_CHECKING:
    from bulkhead.apps.store_platform.media import Media
    from bulkhead.capabilities.storage import Bucket

PAGE_FILES: Final = 200
LOOKS_MAX: Final = 8
"""Objects that a storage is asked for at once."""


@dataclass(frozen=True, slots=True)
class FileFinding:
    """A file that is not what its row says."""

    media: UUID
    name: str
    finding: str


async def check_files(media: Media, store: UUID) -> list[FileFinding]:
    """Ask the storage of a store for each of its files; return those that are not as they should.

    Sizes and types are compared, not bytes. Raises StorageNotConnected where there are files, and
    what keeps the storage from answering; keys that may not list the bucket are refused a file that
    is missing.
    """
    findings: list[FileFinding] = []
    after = None
    while True:
        async with media.fleet.connection(TenantId(store)) as db:
            page = await library.list_media(db, after=after, limit=PAGE_FILES)
        if not page:
            return findings
        bucket = await media.storages.open(store)
        found = await _look_at(bucket, store, page)
        async with media.fleet.connection(TenantId(store)) as db:
            # What was deleted since the page was read is not missing.
            findings += [it for it in found if await library.has_media(db, it.media)]
        after = page[-1]["id"]


async def list_strays(media: Media, store: UUID) -> list[FileFinding]:
    """Objects where files of a store are that no row names, and nobody is at; nothing is changed.

    There are none, unless somebody else put them there, or rows were deleted past the platform.
    Raises StorageNotConnected, and StorageCredentialsRefused for keys that may not list the bucket.
    """
    bucket = await media.storages.open(store)
    prefix = object_key(store, UUID(int=0))[:-36]
    findings: list[FileFinding] = []
    after = None
    while page := await bucket.list(prefix, after=after):
        after = page[-1].key
        named = {key: it for it in page if (key := _id_of(it.key[len(prefix) :])) is not None}
        async with media.fleet.connection(TenantId(store)) as db:
            unnamed = named.keys() - await library.list_known(db, list(named))
        async with media.master.transaction(SERVICE, read_only=True) as tx:
            held = {it.subject for it, _ in await list_open(tx, store, Metric.STORAGE_BYTES)}
        async with media.fleet.connection(TenantId(store)) as db:
            # One that was being uploaded has its row by now, or is held still.
            strays = unnamed - held - await library.list_known(db, list(unnamed))
        findings += [
            FileFinding(each, "", f"no row names its object of {named[each].size_bytes} bytes")
            for each in sorted(strays)
        ]
    return findings


def _id_of(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


async def _look_at(bucket: Bucket, store: UUID, page: list[dict[str, Any]]) -> list[FileFinding]:
    try:
        looks = await in_parallel(partial(_look, bucket, store), page, LOOKS_MAX)
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return [found for found in looks if found is not None]


async def _look(bucket: Bucket, store: UUID, row: dict[str, Any]) -> FileFinding | None:
    try:
        head = await bucket.head(object_key(store, row["id"]))
    except ObjectUnknown:
        return FileFinding(row["id"], row["file_name"], "its object is missing")
    if head.size_bytes != row["size_bytes"]:
        told = f"its object has {head.size_bytes} bytes instead of {row['size_bytes']}"
        return FileFinding(row["id"], row["file_name"], told)
    if head.content_type != row["content_type"]:
        told = f"its object is of type {ascii(head.content_type[:80])[1:-1]}"
        return FileFinding(row["id"], row["file_name"], told)
    return None
