"""Files whose bytes go straight to the storage, at an address that is signed for one object.

Such an address says nothing of size or type, and whoever has it may put again until it has expired.
So it is never that of the file: the bytes come to a place of their own, and only when the upload is
completed, the storage copies them to where the file is, and what is there is looked at. Until then
the bytes are held in the master, as for any upload; a sweep gives them back, and deletes what was
put, long after the address has expired.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal
from uuid import UUID

from bulkhead.apps.store_platform.master.metering import service as metering
from bulkhead.apps.store_platform.master.metering.model import Hold, Metric
from bulkhead.apps.store_platform.media import (
    SIGNED_S,
    STORED,
    Media,
    disposition_of,
    patience_s,
    put_file,
    upload_id,
)
from bulkhead.apps.store_platform.store.media import service as library
from bulkhead.apps.store_platform.store.media.model import (
    HEAD_BYTES,
    MediaMisnamed,
    NewFile,
    object_key,
    parse_content_type,
    staged_key,
)
from bulkhead.capabilities.storage import (
    Bucket,
    Disposition,
    ObjectChanged,
    ObjectHead,
    ObjectMisframed,
    ObjectUnknown,
    StorageAnswerUnusable,
    StorageCredentialsRefused,
    render_disposition,
)
from bulkhead.engine import failpoints
from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.errors import BulkheadError, Conflict, Invalid, NotFound, Unavailable
from bulkhead.engine.fleet.model import TenantId
from bulkhead.engine.ongoing import claimed
from bulkhead.http.described import Described

if TYPE_CHECKING:
    from collections.abc import Mapping

COMPLETE_S_MAX: Final = 600.0
"""Well below the age at which a sweep takes up what is held."""
CLAIMED: Final = failpoints.register("store.media_uploads:claimed")
LOOKED: Final = failpoints.register("store.media_uploads:looked")

Row = dict[str, Any]


class UploadUnknown(NotFound):
    """There is no upload {upload}, or it has expired."""

    code = "upload_unknown"
    hint = "Ask for another address: POST .../media/uploads"


class UploadMissing(Conflict):
    """The storage has nothing of upload {upload} yet."""

    code = "upload_missing"
    hint = "PUT the bytes to its address first, with its headers; then complete it."


class UploadDiffers(Invalid):
    """What was put is not what was declared: {reason}."""

    code = "upload_differs"
    hint = "It was deleted. Ask for another address, and put what you declare, with its headers."


class UploadUnderway(Conflict):
    """Upload {upload} is being completed, or was and failed."""

    code = "upload_underway"
    hint = "See whether the file is there in a moment; if not, upload it again."


class UploadSlow(Unavailable):
    """The storage took too long to take over the upload."""

    code = "upload_slow"
    retry_after_s = 10


class Reserved(Described):
    """Where and how a file is to be put within `expires_s`, and where that is completed."""

    id: UUID
    method: Literal["PUT"]
    url: str
    headers: dict[str, str]
    expires_s: int
    complete: str


@dataclass(frozen=True, slots=True)
class Uploads:
    """Uploads past the platform, into the storages of stores."""

    media: Media

    async def reserve(self, store: UUID, media: UUID, file: NewFile) -> Row:
        """Hold a file's bytes of the plan, and say where and how to put it.

        Raises PlanLimitReached, StorageNotConnected, HostRefused.
        """
        wish = _wish(store, media, file)
        bucket = await self.media.hold(wish)
        expires_s = int(patience_s(file))
        try:
            url = await bucket.sign("PUT", staged_key(store, media), expires_s)
        except BulkheadError:
            await self.media.release(wish)
            raise
        return {
            "id": media,
            "method": "PUT",
            "url": url,
            "headers": headers_of(file),
            "expires_s": expires_s,
        }

    async def complete(self, store: UUID, media: UUID, file: NewFile) -> Row:
        """Take over what was put, if it is what `file` says and as large as was held.

        Repeatable: a file that is there already is returned. Raises UploadUnknown, UploadMissing,
        UploadDiffers, UploadUnderway, MediaMisnamed, UploadsBusy, UploadSlow, and what keeps the
        storage from taking it.
        """
        if (row := await self._find(store, media)) is not None:
            return row
        async with self.media.places.taken(store):
            try:
                wish = await claimed(self._claim(store, media), self._unclaim)
            except UploadUnknown:
                if (row := await self._find(store, media)) is not None:
                    return row  # Another one has completed it meanwhile.
                raise
            try:
                await failpoints.reach(CLAIMED)
                bucket = await self.media.storages.open(wish.store)
                async with asyncio.timeout(COMPLETE_S_MAX):
                    head, sha256 = await self._take_over(bucket, wish, file)
            except (UploadDiffers, MediaMisnamed) as error:
                await self._refuse(wish)
                raise error from None
            except TimeoutError:
                await self._unclaim(wish)
                raise UploadSlow from None
            except (BulkheadError, asyncio.CancelledError):
                await self._unclaim(wish)
                raise
        await failpoints.reach(STORED)
        row = await self.media.note(wish, bucket, file, head, sha256)
        with suppress(BulkheadError):  # It is counted no more, and nobody knows its name.
            await bucket.delete(staged_key(store, media))
        return row

    async def _find(self, store: UUID, media: UUID) -> Row | None:
        async with self.media.fleet.connection(TenantId(store)) as db:
            row = await library.find_media(db, media)
        if row is None:
            return None
        bucket = await self.media.storages.open(store)
        return {**row, "url": await bucket.sign("GET", object_key(store, media), SIGNED_S)}

    async def _claim(self, store: UUID, media: UUID) -> Hold:
        """Be the only one who completes it, and let no sweep come in between."""
        hold = upload_id(store, media)
        async with self.media.master.transaction(SERVICE) as tx:
            wish = await metering.claim(tx, store, Metric.STORAGE_BYTES, hold)
            if wish is None and await metering.is_held(tx, store, hold):
                raise UploadUnderway(upload=media)
        if wish is None:
            raise UploadUnknown(upload=media)
        return wish

    async def _unclaim(self, wish: Hold) -> None:
        with suppress(BulkheadError):  # Then it is for the sweep.
            async with self.media.master.transaction(SERVICE) as tx:
                await metering.unclaim(tx, wish)

    async def _refuse(self, wish: Hold) -> None:
        """Have nothing of it, neither in the storage nor of the plan."""
        with suppress(BulkheadError):  # The sweep tries again.
            await self.media.conclude(wish, is_there=False)

    async def _take_over(
        self, bucket: Bucket, wish: Hold, file: NewFile
    ) -> tuple[bytes, str | None]:
        """Have the object where the file is; returns its beginning, and its hash if it was seen.

        What the storage copies is looked at after that, where nobody else can put anything.
        """
        staged, key = staged_key(wish.store, wish.subject), object_key(wish.store, wish.subject)
        try:
            found = await bucket.head(staged)
        except (ObjectUnknown, StorageCredentialsRefused):
            # S3 refuses keys that may not list the bucket what is not there.
            raise UploadMissing(upload=wish.subject) from None
        _verify(found, wish, file)
        await failpoints.reach(LOOKED)
        if _is_safe(found, file) and await _copy(bucket, staged, key):
            copied = await bucket.head(key)
            _verify(copied, wish, file)
            if _is_safe(copied, file):
                head = await bucket.read_head(key, HEAD_BYTES)
                file.verify_head(head)
                return head, None
        try:
            stored, head = await put_file(bucket, key, file, bucket.pieces(found))
        except (ObjectChanged, ObjectMisframed) as error:
            raise UploadDiffers(reason="it was put again meanwhile") from error
        return head, stored.sha256


def headers_of(file: NewFile) -> Mapping[str, str]:
    """The headers with which a file is to be put, so that browsers get it as they should."""
    return {
        "Content-Type": file.content_type,
        "Content-Disposition": render_disposition(disposition_of(file), file.name),
    }


def _wish(store: UUID, media: UUID, file: NewFile) -> Hold:
    return Hold(upload_id(store, media), store, Metric.STORAGE_BYTES, file.size_bytes, media)


def _verify(found: ObjectHead, wish: Hold, file: NewFile) -> None:
    """Pass for an object of the size that is held, and of the type that is declared."""
    if file.size_bytes != wish.amount:
        raise UploadDiffers(reason=f"{wish.amount} bytes were reserved, not {file.size_bytes}")
    if found.size_bytes != wish.amount:
        reason = f"it has {found.size_bytes} bytes instead of {wish.amount}"
        raise UploadDiffers(reason=reason)
    if (given := parse_content_type(found.content_type)) != file.content_type:
        shown = ascii(given[:80])[1:-1]
        raise UploadDiffers(reason=f"its type is '{shown}' instead of {file.content_type}")


def _is_safe(found: ObjectHead, file: NewFile) -> bool:
    """Whether browsers treat the object as they should; else it is put anew with its headers."""
    told = found.disposition.partition(";")[0].strip().lower()
    return file.is_shown or told == Disposition.ATTACHMENT


async def _copy(bucket: Bucket, source: str, target: str) -> bool:
    """Let the storage copy it; False where it does not do that, or not with these keys."""
    try:
        await bucket.copy(source, target)
    except ObjectUnknown:
        raise UploadDiffers(reason="it was deleted meanwhile") from None
    except (StorageAnswerUnusable, StorageCredentialsRefused):
        return False
    return True
