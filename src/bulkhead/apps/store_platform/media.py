"""Files of stores: counted in the master, their bytes in a bucket, a row in the store.

There is no transaction over the three. What is about to be stored is held in the master, then put
in the bucket, then noted in the store, then settled; what is deleted is held, forgotten in the
store, deleted in the bucket, then settled. So the hold is there as long as bucket and store may
disagree, and its row names the object, whose key follows from ids alone. Whoever dies in between
leaves a hold; a sweep looks whether the row is in the store: if so the file is, if not the object
is deleted, and then the hold is settled or released.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from bulkhead.apps.store_platform.master.metering import service as metering
from bulkhead.apps.store_platform.master.metering.model import Hold, Metric
from bulkhead.apps.store_platform.store.media import service as library
from bulkhead.apps.store_platform.store.media.model import (
    FILE_BYTES_MAX,
    HEAD_BYTES,
    NewFile,
    measure_image,
    object_key,
    staged_key,
)
from bulkhead.apps.store_platform.views import WRITE_TIMEOUT_S, bounded, may_be_written
from bulkhead.capabilities.storage import (
    Bucket,
    BucketUnknown,
    Disposition,
    ObjectUnknown,
    StorageAnswerUnusable,
    StorageUnreachable,
    Stored,
)
from bulkhead.engine import clock, failpoints
from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.errors import BulkheadError, NotFound, Unavailable
from bulkhead.engine.fleet.model import TenantId
from bulkhead.engine.fleet.parallel import in_parallel
from bulkhead.engine.ids import derive_id
from bulkhead.http.bodies import BYTES_PER_S

if TYPE_CHECKING:
    from bulkhead.apps.store_platform.storage import Storages
    from bulkhead.engine.connections.database import OpenDatabase
    from bulkhead.engine.fleet.fleet import Fleet

PATIENCE_S: Final = 60.0
UPLOAD_S_MAX: Final = PATIENCE_S + FILE_BYTES_MAX / BYTES_PER_S
"""How long the largest file may take; a smaller one has less time, see `patience_s`."""
STALE_S: Final = UPLOAD_S_MAX + WRITE_TIMEOUT_S + 600.0
"""After which whoever held something for a file must have ended, one way or the other."""
UPLOADS_MAX: Final = 48
"""At once in a process; of each, a part or two are in memory."""
UPLOADS_OF_STORE_MAX: Final = 6
SWEEPS_MAX: Final = 8
WAIT_S_MAX: Final = 10.0
SIGNED_S: Final = 900
HELD = failpoints.register("store.media:held")
STORED = failpoints.register("store.media:stored")
NOTED = failpoints.register("store.media:noted")
FORGOTTEN = failpoints.register("store.media:forgotten")
DELETED = failpoints.register("store.media:deleted")

Row = dict[str, Any]

log = logging.getLogger(__name__)


class UploadsBusy(Unavailable):
    """Too many files are being uploaded at the moment."""

    code = "uploads_busy"
    retry_after_s = 5


@dataclass(slots=True, eq=False)
class Places:
    """How many uploads there are at once: of all stores, and of one, so that none takes all."""

    _taken: Counter[UUID] = field(default_factory=Counter)
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    @asynccontextmanager
    async def taken(self, store: UUID) -> AsyncIterator[None]:
        """Have a place inside the block; raises UploadsBusy when none gets free in time."""
        try:
            async with asyncio.timeout(WAIT_S_MAX), self._changed:
                await self._changed.wait_for(lambda: self._has_place(store))
                self._taken[store] += 1
        except TimeoutError:
            raise UploadsBusy from None
        try:
            yield
        finally:
            self._taken[store] -= 1
            self._taken += Counter()  # Forgets those that have none.
            async with self._changed:
                self._changed.notify_all()

    def _has_place(self, store: UUID) -> bool:
        return self._taken[store] < UPLOADS_OF_STORE_MAX and self._taken.total() < UPLOADS_MAX


@dataclass(frozen=True, slots=True)
class Media:
    """The master, the fleet and the storages, for what needs all three."""

    master: OpenDatabase
    fleet: Fleet
    storages: Storages
    places: Places = field(default_factory=Places)

    async def upload(
        self, store: UUID, media: UUID, file: NewFile, pieces: AsyncIterator[bytes]
    ) -> Row:
        """Store a file that arrives in `pieces`; return its row, and an address to read it at.

        Raises PlanLimitReached, StorageNotConnected, UploadsBusy, MediaMisnamed, and what keeps
        the bucket from taking it; whatever `pieces` raises.
        """
        wish = Hold(upload_id(store, media), store, Metric.STORAGE_BYTES, file.size_bytes, media)
        key = object_key(store, media)
        async with self.places.taken(store):
            bucket = await self.hold(wish)
            try:
                stored, head = await put_file(bucket, key, file, pieces)
            except BulkheadError as error:
                if not isinstance(error, StorageUnreachable | StorageAnswerUnusable):
                    await self.release(wish)  # The bucket has nothing.
                raise
        await failpoints.reach(STORED)
        return await self.note(wish, bucket, file, head, stored.sha256)

    async def hold(self, wish: Hold) -> Bucket:
        """Take a file's bytes from the plan, and say where it goes.

        A store that is closed takes none, so that nothing is left in its bucket. Raises
        PlanLimitReached, StorageNotConnected, HostRefused, and what keeps the store from answering.
        """
        async with self.fleet.connection(TenantId(wish.store)):
            pass
        await self._hold(wish)
        try:
            return await self.storages.open(wish.store)
        except BulkheadError:
            await self.release(wish)
            raise

    async def note(
        self, wish: Hold, bucket: Bucket, file: NewFile, head: bytes, sha256: str | None
    ) -> Row:
        """Have a file that is in the bucket in the store, too, and count it.

        `head` is its beginning. Returns its row, and an address to read it at.
        """
        key = object_key(wish.store, wish.subject)
        size = measure_image(file.content_type, head)
        try:
            async with bounded(), self.fleet.transaction(TenantId(wish.store)) as db:
                row = await library.add_media(db, wish.subject, key, file, sha256, size)
        except BulkheadError as error:
            await self._give_up(wish, error)
            raise
        await failpoints.reach(NOTED)
        async with self.master.transaction(SERVICE) as tx:
            await metering.settle(tx, [wish.id])
        return {**row, "url": await bucket.sign("GET", key, SIGNED_S)}

    async def delete(self, store: UUID, media: UUID) -> None:
        """Delete a file; raises NotFound.

        Where its storage does not answer, the file is gone for the store, and a sweep deletes the
        object and counts it when it can.
        """
        async with self.fleet.connection(TenantId(store)) as db:
            row = await library.get_media(db, media)
        size_bytes = row["size_bytes"]
        wish = Hold(_deletion_id(store, media), store, Metric.STORAGE_BYTES, -size_bytes, media)
        async with self.master.transaction(SERVICE) as tx:
            # It is there, so that it counts, even if whoever uploaded it did not come to say so.
            await metering.settle(tx, [upload_id(store, media)])
            await metering.hold(tx, wish, clock.now().date())
        await failpoints.reach(HELD)
        try:
            async with bounded(), self.fleet.transaction(TenantId(store)) as db:
                is_gone = await library.delete_media(db, media)
        except BulkheadError as error:
            await self._give_up(wish, error)
            raise
        if not is_gone:  # Another one deletes it at the same time, and goes on with it.
            raise NotFound(what=f"Media library {media}")
        await failpoints.reach(FORGOTTEN)
        with suppress(BulkheadError):  # The sweep tries again.
            await self._end(wish)

    async def sign(self, store: UUID, media: list[UUID], expires_s: int = SIGNED_S) -> list[str]:
        """Addresses under which files can be read for so long; raises StorageNotConnected."""
        bucket = await self.storages.open(store)
        return [await bucket.sign("GET", object_key(store, it), expires_s) for it in media]

    async def sweep(self, older_than_s: float = STALE_S) -> int:
        """End what whoever began it has forgotten; what cannot be ended yet waits.

        A storage that hangs keeps the other stores waiting no longer than one of its own objects.
        """
        async with self.master.transaction(SERVICE) as tx:
            stale = await metering.take_stale(tx, [Metric.STORAGE_BYTES], older_than_s)
        of_stores: dict[UUID, list[Hold]] = {}
        for wish in stale:
            of_stores.setdefault(wish.store, []).append(wish)
        return sum(await in_parallel(self._end_all, of_stores.values(), SWEEPS_MAX))

    async def _end_all(self, wishes: list[Hold]) -> int:
        """End what one store has left over, up to the first that cannot be; return how many."""
        for ended, wish in enumerate(wishes):
            try:
                await self._end(wish)
            except BulkheadError as error:
                log.warning("a file of store %s waits: %s", wish.store, error.code)
                return ended
        return len(wishes)

    async def _hold(self, wish: Hold) -> None:
        async with self.master.transaction(SERVICE) as tx:
            await metering.hold(tx, wish, clock.now().date())
        await failpoints.reach(HELD)

    async def release(self, wish: Hold) -> None:
        """Give back what was held for a file of which the bucket has nothing."""
        with suppress(BulkheadError):  # The sweep tries again.
            async with self.master.transaction(SERVICE) as tx:
                await metering.release(tx, wish)

    async def _give_up(self, wish: Hold, error: BulkheadError) -> None:
        """Take back what was begun, unless nobody knows what became of the row."""
        if may_be_written(error):
            return
        with suppress(BulkheadError):  # The sweep looks again.
            await self._end(wish)

    async def _end(self, wish: Hold) -> None:
        """Settle or release a hold by what is in the store, once bucket and store agree."""
        async with self.fleet.connection(TenantId(wish.store)) as db:
            is_there = await library.has_media(db, wish.subject)
        await self.conclude(wish, is_there=is_there)

    async def conclude(self, wish: Hold, *, is_there: bool) -> None:
        """Settle or release a hold, given whether its row is in the store. Repeatable."""
        if not is_there:
            await self._delete_object(wish)
            await failpoints.reach(DELETED)
        elif wish.amount > 0:
            with suppress(BulkheadError):  # What was staged is a file by now, or expires.
                bucket = await self.storages.open(wish.store)
                await bucket.delete(staged_key(wish.store, wish.subject))
        async with self.master.transaction(SERVICE) as tx:
            if is_there == (wish.amount > 0):
                await metering.settle(tx, [wish.id])
            else:
                await metering.release(tx, wish)

    async def _delete_object(self, wish: Hold) -> None:
        bucket = await self.storages.open(wish.store)
        with suppress(ObjectUnknown, BucketUnknown):
            await bucket.delete(object_key(wish.store, wish.subject))
            if wish.amount > 0:
                await bucket.delete(staged_key(wish.store, wish.subject))


@dataclass(slots=True, eq=False)
class _Head:
    """Looks at the beginning of a file before any of it is passed on."""

    file: NewFile
    pieces: AsyncIterator[bytes]
    seen: bytearray = field(default_factory=bytearray)

    async def watched(self) -> AsyncIterator[bytes]:
        """The same bytes; raises MediaMisnamed."""
        async for piece in self.pieces:
            if len(self.seen) >= HEAD_BYTES:
                yield piece
                continue
            self.seen += piece
            if len(self.seen) >= HEAD_BYTES:
                self.file.verify_head(bytes(self.seen))
                yield bytes(self.seen)
        if len(self.seen) < HEAD_BYTES:
            self.file.verify_head(bytes(self.seen))
            yield bytes(self.seen)


async def put_file(
    bucket: Bucket, key: str, file: NewFile, pieces: AsyncIterator[bytes], sha256: str = ""
) -> tuple[Stored, bytes]:
    """Put a file as browsers shall get it; return what was put, and its beginning.

    With `sha256` the object says that this is its hash. Raises MediaMisnamed, and as `Bucket.put`.
    """
    head = _Head(file, pieces)
    stored = await bucket.put(
        key,
        head.watched(),
        size_bytes=file.size_bytes,
        content_type=file.content_type,
        timeout_s=patience_s(file),
        disposition=disposition_of(file),
        file_name=file.name,
        sha256=sha256,
    )
    return stored, bytes(head.seen)


def disposition_of(file: NewFile) -> Disposition:
    """What a browser does with a file: what it could run is only ever downloaded."""
    return Disposition.INLINE if file.is_shown else Disposition.ATTACHMENT


def patience_s(file: NewFile) -> float:
    """How long a file may take, whoever is slow: who sends it, or who stores it."""
    return PATIENCE_S + file.size_bytes / BYTES_PER_S


def upload_id(store: UUID, media: UUID) -> UUID:
    """Under which an upload is held; stores that were copied have files of the same ids."""
    return derive_id("media+", store, media)


def _deletion_id(store: UUID, media: UUID) -> UUID:
    return derive_id("media-", store, media)
