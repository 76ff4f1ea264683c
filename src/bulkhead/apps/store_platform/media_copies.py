"""Files that come into a store together with its rows, from the bucket in which they are.

The store serves nobody meanwhile. What is about to come is held in the master, as for any upload;
then its bytes are copied; then the rows come, which is not done here; then the files that the rows
name are counted, and the others deleted. Files that the store had before are held as for a
deletion until then. So whoever dies leaves holds: the next attempt finds what was copied and goes
on, and when there is none, a sweep deletes it once the store is served again.

A file is copied by the storage itself where both stores have the same bucket, and else streamed, a
part at a time. It is the same file when its size is, and its hash or its ETag.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from bulkhead.apps.store_platform.master.metering import service as metering
from bulkhead.apps.store_platform.master.metering.model import Hold, Metric, PlanLimitReached
from bulkhead.apps.store_platform.media import STALE_S, put_file
from bulkhead.apps.store_platform.storage import StorageNotConnected
from bulkhead.apps.store_platform.store.media import service as library
from bulkhead.apps.store_platform.store.media.model import (
    MediaEmpty,
    MediaMisnamed,
    MediaTooLarge,
    MediaTypeRefused,
    NewFile,
    object_key,
)
from bulkhead.capabilities.storage import (
    Bucket,
    ObjectChanged,
    ObjectHead,
    ObjectMisframed,
    ObjectNameRefused,
    ObjectUnknown,
    StorageAnswerUnusable,
    StorageCredentialsRefused,
)
from bulkhead.engine import clock, failpoints
from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.errors import Conflict, Invalid, Unavailable
from bulkhead.engine.fleet.parallel import in_parallel
from bulkhead.engine.ids import derive_id

if TYPE_CHECKING:
    from bulkhead.apps.store_platform.media import Media
    from bulkhead.engine.fleet.connection import TenantConnection

PAGE_FILES: Final = 200
COPIES_MAX: Final = 4
"""At once; of each, two parts are in memory."""
HELD: Final = failpoints.register("store.media_copies:held")
CARRIED: Final = failpoints.register("store.media_copies:carried")
TIDIED: Final = failpoints.register("store.media_copies:tidied")
_UNFIT: Final = (
    *(ObjectUnknown, ObjectMisframed, ObjectNameRefused, ObjectChanged),
    *(MediaTypeRefused, MediaMisnamed, MediaEmpty, MediaTooLarge),
)
"""What is wrong with one file, and keeps the others from nothing."""


class FilesHomeless(Conflict):
    """There are {files} files, and {store} has no storage."""

    code = "files_homeless"
    hint = "Connect one: bulkhead storage add STORE. Or leave the files where they are."


class FilesUnsettled(Unavailable):
    """Files of the store are being uploaded or deleted: {files}."""

    code = "files_unsettled"
    hint = "Try again when that has ended; what nobody ends is tidied away within half an hour."
    retry_after_s = 60


class FileDiffers(Invalid):
    """The bytes of the file are not those that its row tells of."""

    code = "file_differs"


@dataclass(frozen=True, slots=True)
class Carried:
    """A file as its row tells of it."""

    id: UUID
    key: str
    """Of its object, in the bucket in which it is."""
    name: str
    content_type: str
    size_bytes: int
    sha256: str | None

    @classmethod
    def of_row(cls, row: Any, key: str) -> Carried:  # noqa: ANN401 - of any driver
        """From a row of `media_library`."""
        size_bytes, sha256 = int(row["size_bytes"]), row["sha256"]
        name, content_type = row["file_name"], row["content_type"]
        return cls(UUID(str(row["id"])), key, name, content_type, size_bytes, sha256)


@dataclass(frozen=True, slots=True)
class Source:
    """Where the files of some rows are."""

    open: Callable[[], Awaitable[Bucket]]
    """The bucket; asked for when there is a file in it. Raises StorageNotConnected."""
    pages: Callable[[], AsyncIterator[Sequence[Carried]]]
    """The files, before their rows come."""
    key_of: Callable[[UUID, str], str]
    """The object of a file in that bucket, by its id and the `storage_key` of its row."""
    is_ours: bool = True
    """Whether the platform put the objects, so that they are what their rows tell of."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the files are."""

    files: int
    of_files: int
    size_bytes: int
    of_bytes: int


Tell = Callable[[Progress], None]


@dataclass(slots=True, eq=False)
class Carrier:
    """Carries the files of some rows into the bucket of `store`, which is suspended."""

    media: Media
    store: UUID
    source: Source
    tell: Tell | None = None
    left: dict[UUID, str] = field(default_factory=dict)
    """Files that did not come, each with the code of the reason."""
    size_bytes: int = 0
    """Of the files that the store has, in the end."""
    _held: set[UUID] = field(default_factory=set)
    _there: set[UUID] = field(default_factory=set)
    _own: dict[UUID, int] = field(default_factory=dict)
    """The sizes of the files that the store had before."""
    _seen_files: int = 0
    _seen_bytes: int = 0
    _of_files: int = 0
    _of_bytes: int = 0

    @property
    def files(self) -> int:
        """How many there are in the store's bucket."""
        return len(self._there)

    async def bring(self, db: TenantConnection) -> None:
        """Copy all files before the rows come; `db` is the store's, with the rows that it has.

        Raises PlanLimitReached, FilesHomeless, FilesUnsettled, and what keeps a bucket from being
        used; then the store's own files are as they were.
        """
        async for page in library.walk_media(db, PAGE_FILES):
            self._own.update({row["id"]: row["size_bytes"] for row in page})
        await self._settle_others()
        async for files in self.source.pages():
            self._of_files += len(files)
            self._of_bytes += sum(file.size_bytes for file in files)
        if not self._of_files and not self._own:
            return
        await self._open_target()
        await self._hold_all()
        await failpoints.reach(HELD)
        async for files in self.source.pages():
            # What came since is held and copied when its row has come.
            await self._carry([it for it in files if it.id in self._held or not self._is_new(it)])

    async def finish(self, db: TenantConnection) -> None:
        """Let the files be those that the rows name; `db` is the store's, with its new rows.

        What came late is copied yet; rows whose files did not come are deleted. Repeatable.
        """
        named: set[UUID] = set()
        async for page in library.walk_media(db, PAGE_FILES):
            named.update(row["id"] for row in page)
            late = [
                Carried.of_row(row, self.source.key_of(row["id"], row["storage_key"]))
                for row in page
                if row["id"] not in self._there and row["id"] not in self.left
            ]
            if late := [file for file in late if await self._hold_late(file)]:
                await self._carry(late)
        gone = sorted(named - self._there)
        for at in range(0, len(gone), PAGE_FILES):
            await library.forget_media(db, gone[at : at + PAGE_FILES])
        await library.rename_objects(db, object_key(self.store, UUID(int=0))[:-36])
        self._there &= named
        self.size_bytes = await library.sum_media(db)
        await self._tidy()
        await failpoints.reach(TIDIED)

    async def take_back(self) -> None:
        """Let it be as before `bring`: the rows do not come."""
        for wish, _ in await self._list_open():
            if self._is_ours(wish):
                await self.media.conclude(wish, is_there=wish.subject in self._own)

    async def _settle_others(self) -> None:
        """End uploads and deletions that were forgotten; raises FilesUnsettled for others."""
        open_now = [it for it in await self._list_open() if not self._is_ours(it[0])]
        if young := [wish for wish, age_s in open_now if age_s < STALE_S]:
            raise FilesUnsettled(files=len(young))
        for wish, _ in open_now:
            await self.media.conclude(wish, is_there=wish.subject in self._own)

    async def _open_target(self) -> Bucket:
        try:
            return await self.media.storages.open(self.store)
        except StorageNotConnected:
            raise FilesHomeless(files=self._of_files, store=f"store {self.store}") from None

    async def _hold_all(self) -> None:
        """Take what comes from the plan, and note what goes; all of it or nothing."""
        taken: list[Hold] = []
        try:
            async for page in self.source.pages():
                wishes = [self._arrival(file) for file in page if self._is_new(file)]
                self._held.update(wish.subject for wish in wishes)
                async with self.media.master.transaction(SERVICE) as tx:
                    today = clock.now().date()
                    firsts = [wish for wish in wishes if await metering.hold(tx, wish, today)]
                taken += firsts
        except PlanLimitReached:
            for wish in taken:
                await self.media.release(wish)
            raise
        going = [self._departure(media, size) for media, size in self._own.items() if size]
        for at in range(0, len(going), PAGE_FILES):
            async with self.media.master.transaction(SERVICE) as tx:
                for wish in going[at : at + PAGE_FILES]:
                    await metering.hold(tx, wish, clock.now().date())

    async def _hold_late(self, file: Carried) -> bool:
        """As `_hold_all`, for one that came into its source meanwhile; False when it is left."""
        if not self._is_new(file):
            return True
        try:
            async with self.media.master.transaction(SERVICE) as tx:
                await metering.hold(tx, self._arrival(file), clock.now().date())
        except PlanLimitReached as error:
            self.left[file.id] = error.code
            return False
        return True

    def _is_new(self, file: Carried) -> bool:
        """Whether it takes of the plan: what the store had before is counted already."""
        return file.id not in self._own and file.size_bytes > 0

    async def _carry(self, page: Sequence[Carried]) -> None:
        source, target = await self._open_source(), await self._open_target()

        async def carry(file: Carried) -> None:
            try:
                await self._carry_one(source, target, file)
            except (*_UNFIT, FileDiffers) as error:
                self.left[file.id] = error.code
            else:
                self._there.add(file.id)
            await failpoints.reach(CARRIED)
            self._note(file)

        try:
            await in_parallel(carry, page, COPIES_MAX)
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None

    async def _open_source(self) -> Bucket:
        try:
            return await self.source.open()
        except StorageNotConnected:
            raise FilesHomeless(files=self._of_files, store="the store that has them") from None

    async def _carry_one(self, source: Bucket, target: Bucket, file: Carried) -> None:
        """Have the object of one file, and be sure of it; raises what is wrong with it."""
        key = object_key(self.store, file.id)
        is_same_bucket = source.place == target.place
        if is_same_bucket and key == file.key:
            if (await target.head(key)).size_bytes != file.size_bytes:
                raise FileDiffers
            return
        if await _is_there(source, target, file, key):
            return
        if is_same_bucket and self.source.is_ours and await _copy(target, file, key):
            return
        head = await source.head(file.key)
        if head.size_bytes != file.size_bytes:
            raise FileDiffers
        said = NewFile(file.name, file.content_type, file.size_bytes)
        pieces, sha256 = source.pieces(head), file.sha256 or ""
        stored, _ = await put_file(target, key, said, pieces, sha256)
        if sha256 not in {"", stored.sha256}:
            await target.delete(key)
            raise FileDiffers

    async def _tidy(self) -> None:
        """End what was held: count what came, and delete what has no row."""
        settled: list[UUID] = []
        for wish, _ in await self._list_open():
            if not self._is_ours(wish):
                continue
            is_there = wish.subject in self._there
            if is_there and wish.amount > 0:
                settled.append(wish.id)
            else:
                await self.media.conclude(wish, is_there=is_there)
        for at in range(0, len(settled), PAGE_FILES):
            async with self.media.master.transaction(SERVICE) as tx:
                await metering.settle(tx, settled[at : at + PAGE_FILES])

    async def _list_open(self) -> list[tuple[Hold, float]]:
        async with self.media.master.transaction(SERVICE, read_only=True) as db:
            return await metering.list_open(db, self.store, Metric.STORAGE_BYTES)

    def _arrival(self, file: Carried) -> Hold:
        wish = derive_id("file+", self.store, file.id)
        return Hold(wish, self.store, Metric.STORAGE_BYTES, file.size_bytes, file.id)

    def _departure(self, media: UUID, size_bytes: int) -> Hold:
        wish = derive_id("file-", self.store, media)
        return Hold(wish, self.store, Metric.STORAGE_BYTES, -size_bytes, media)

    def _is_ours(self, wish: Hold) -> bool:
        """Whether this, or an attempt before it, holds it."""
        sign = "file+" if wish.amount > 0 else "file-"
        return wish.id == derive_id(sign, self.store, wish.subject)

    def _note(self, file: Carried) -> None:
        self._seen_files += 1
        self._seen_bytes += file.size_bytes
        if self.tell is not None:
            of_files = max(self._of_files, self._seen_files)
            of_bytes = max(self._of_bytes, self._seen_bytes)
            self.tell(Progress(self._seen_files, of_files, self._seen_bytes, of_bytes))


async def _is_there(source: Bucket, target: Bucket, file: Carried, key: str) -> bool:
    """Whether an attempt before has carried it: the same size, and the same hash or ETag.

    Objects that were put in parts have other ETags than their copies; those are carried again.
    """
    try:
        found = await target.head(key)
    except (ObjectUnknown, StorageCredentialsRefused):
        # S3 refuses keys that may not list the bucket what is not there.
        return False
    if found.size_bytes != file.size_bytes:
        return False
    if file.sha256 and found.sha256:
        return file.sha256 == found.sha256
    try:
        origin = await source.head(file.key)
    except (ObjectUnknown, StorageCredentialsRefused):
        # What is here may be the last one there is.
        return bool(file.sha256) and await _hash(target, found) == file.sha256
    return bool(found.etag) and found.etag == origin.etag


async def _hash(bucket: Bucket, head: ObjectHead) -> str:
    digest = hashlib.sha256()
    async for piece in bucket.pieces(head):
        digest.update(piece)
    return digest.hexdigest()


async def _copy(bucket: Bucket, file: Carried, key: str) -> bool:
    """Let the storage copy it; False where it does not do that, or not with these keys."""
    try:
        await bucket.copy(file.key, key)
    except (StorageAnswerUnusable, StorageCredentialsRefused):
        return False
    if (await bucket.head(key)).size_bytes != file.size_bytes:
        await bucket.delete(key)
        raise FileDiffers
    return True
