"""A bucket of a customer: put, read, list, delete and sign, each within bounds."""

from __future__ import annotations

import asyncio
import datetime as dt
import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final, Literal
from urllib.parse import quote

import obstore
from obstore.exceptions import PreconditionError

from bulkhead.capabilities.storage.answers import in_our_words
from bulkhead.capabilities.storage.errors import (
    ObjectChanged,
    ObjectMisframed,
    ObjectNameRefused,
    StorageAnswerUnusable,
)
from bulkhead.engine.errors import BulkheadError, Invalid
from bulkhead.engine.ids import new_id

if TYPE_CHECKING:
    from obstore import GetOptions
    from obstore.store import GCSStore, S3Store

PART_BYTES: Final = 5 * 2**20
"""What is sent at once: the smallest part that S3 takes. Smaller objects are sent whole."""
PARTS_AT_ONCE: Final = 1
GATHER_BYTES: Final = 2**20
CALL_TIMEOUT_S: Final = 45.0
"""For what is not a file: more than the client's own time limits take together."""
SIGNED_S_MAX: Final = 7 * 24 * 3600
"""Source: the documentation of Signature Version 4, and of Google's V4 signing."""
KEY_BYTES_MAX: Final = 1024
LIST_MAX: Final = 1000
PROBE: Final = b"bulkhead was here; this object can be deleted"


class Disposition(StrEnum):
    """What a browser does with an object that it is shown the address of."""

    INLINE = "inline"
    ATTACHMENT = "attachment"


SHA256: Final = "sha256"
"""The metadata in which an object says its hash, where that was known before it was put."""


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """An object as the storage lists it."""

    key: str
    size_bytes: int
    changed_at: dt.datetime


@dataclass(frozen=True, slots=True)
class ObjectHead:
    """What a storage says of one object; what it does not say is empty."""

    key: str
    size_bytes: int
    changed_at: dt.datetime
    etag: str
    content_type: str
    disposition: str
    """The header Content-Disposition as it is."""
    sha256: str
    """As whoever put it said, in hexadecimal digits; nobody has compared it with the bytes."""


@dataclass(frozen=True, slots=True)
class Stored:
    """What was put."""

    size_bytes: int
    sha256: str
    """In hexadecimal digits."""


@dataclass(frozen=True, slots=True, eq=False)
class Bucket:
    """An open bucket; every method raises what `in_our_words` does.

    Those that take a key raise ObjectNameRefused for one that no storage would take as it is.
    """

    name: str
    store: S3Store | GCSStore = field(repr=False)
    place: tuple[str, str, str] = ("", "", "")
    """Which bucket it is, as `StorageConfig.place`, whoever opens it."""

    async def put(  # noqa: PLR0913 - what is said of a file
        self,
        key: str,
        pieces: AsyncIterator[bytes],
        *,
        size_bytes: int,
        content_type: str,
        timeout_s: float = CALL_TIMEOUT_S,
        disposition: Disposition = Disposition.ATTACHMENT,
        file_name: str = "",
        sha256: str = "",
    ) -> Stored:
        """Put an object of exactly `size_bytes`; nothing of it is there unless all is.

        With `sha256` the object says its hash, which the caller compares with that of what was put.
        What is larger than PART_BYTES goes through memory in parts. Whatever `pieces` raises is
        raised, and the parts are taken back. Raises ObjectNameRefused, ObjectMisframed.
        """
        verify_key(key)
        body = _Body(pieces, size_bytes)
        attributes = {
            "Content-Type": content_type,
            "Content-Disposition": render_disposition(disposition, file_name),
        }
        if sha256:
            attributes[SHA256] = sha256
        try:
            async with in_our_words(self.name, key, timeout_s):
                whole = await body.read() if size_bytes <= PART_BYTES else None
                await obstore.put_async(
                    self.store,
                    key,
                    body if whole is None else whole,
                    attributes=attributes,
                    use_multipart=whole is None,
                    chunk_size=PART_BYTES,
                    max_concurrency=PARTS_AT_ONCE,
                )
        except BaseException as error:
            # The client may have wrapped it; what kept the body from coming is the reason.
            if body.failure is not None and body.failure is not error:
                raise body.failure from None
            raise
        return Stored(size_bytes, body.sha256)

    async def read(self, key: str, size_bytes_max: int) -> bytes:
        """An object of at most `size_bytes_max`; raises StorageAnswerUnusable for a larger one."""
        verify_key(key)
        found = bytearray()
        async with in_our_words(self.name, key, CALL_TIMEOUT_S):
            result = await obstore.get_async(self.store, key)
            async for piece in result.stream(min_chunk_size=1):
                found += piece
                if len(found) > size_bytes_max:
                    reason = f"the object is larger than {size_bytes_max} bytes"
                    raise StorageAnswerUnusable(bucket=self.name, reason=reason)
        return bytes(found)

    async def read_head(self, key: str, size_bytes_max: int) -> bytes:
        """The beginning of an object, which is not empty, up to `size_bytes_max` of it."""
        verify_key(key)
        async with in_our_words(self.name, key, CALL_TIMEOUT_S):
            return bytes(
                await obstore.get_range_async(self.store, key, start=0, end=size_bytes_max)
            )

    async def pieces(self, head: ObjectHead) -> AsyncIterator[bytes]:
        """An object, a part at a time; what is put in its place meanwhile does not mix with it.

        Raises ObjectChanged, and StorageAnswerUnusable when the storage gives back less.
        """
        for start in range(0, head.size_bytes, PART_BYTES):
            end = min(start + PART_BYTES, head.size_bytes)
            options: GetOptions = {"range": (start, end)}
            if head.etag:
                options["if_match"] = head.etag
            async with in_our_words(self.name, head.key, CALL_TIMEOUT_S):
                try:
                    result = await obstore.get_async(self.store, head.key, options=options)
                    piece = bytes(await result.bytes_async())
                except PreconditionError:
                    raise ObjectChanged(key=head.key) from None
            if len(piece) != end - start:
                raise StorageAnswerUnusable(bucket=self.name, reason="it gives back less")
            yield piece

    async def head(self, key: str) -> ObjectHead:
        """What the storage says of an object.

        Where the keys may not list the bucket, S3 refuses them for an object that is not there.
        """
        verify_key(key)
        async with in_our_words(self.name, key, CALL_TIMEOUT_S):
            found = await obstore.get_async(self.store, key, options={"head": True})
        told = found.attributes
        return ObjectHead(
            found.meta["path"],
            found.meta["size"],
            found.meta["last_modified"],
            found.meta["e_tag"] or "",
            told.get("Content-Type", ""),
            told.get("Content-Disposition", ""),
            told.get(SHA256, ""),
        )

    async def copy(self, source: str, target: str) -> None:
        """Have the storage copy an object within the bucket, with all that is said of it."""
        verify_key(source)
        verify_key(target)
        async with in_our_words(self.name, source, CALL_TIMEOUT_S):
            await obstore.copy_async(self.store, source, target)

    async def list(
        self, prefix: str, *, after: str | None = None, limit: int = LIST_MAX
    ) -> list[ObjectInfo]:
        """Objects below `prefix`, by their keys, of those after one of them.

        Raises Invalid unless `limit` is 1 to LIST_MAX.
        """
        if not 0 < limit <= LIST_MAX:
            raise Invalid(reason=f"a page has 1 to {LIST_MAX} objects")
        async with in_our_words(self.name, prefix, CALL_TIMEOUT_S):
            pages = obstore.list(self.store, prefix, offset=after, chunk_size=limit)
            async for page in pages:
                return [ObjectInfo(it["path"], it["size"], it["last_modified"]) for it in page]
        return []

    async def delete(self, key: str) -> None:
        """Let an object be no more; one that is not there is none."""
        verify_key(key)
        async with in_our_words(self.name, key, CALL_TIMEOUT_S):
            try:
                await obstore.delete_async(self.store, key)
            except FileNotFoundError as error:
                if "NoSuchBucket" in str(error):
                    raise

    async def sign(self, method: Literal["GET", "PUT"], key: str, expires_s: int) -> str:
        """An address under which whoever has it may do `method` for so long; asks nobody.

        Raises ObjectNameRefused, and Invalid unless `expires_s` is 1 to SIGNED_S_MAX.
        """
        verify_key(key)
        if not 0 < expires_s <= SIGNED_S_MAX:
            raise Invalid(reason=f"an address can hold for 1 to {SIGNED_S_MAX} s")
        async with in_our_words(self.name, key, CALL_TIMEOUT_S):
            lifetime = dt.timedelta(seconds=expires_s)
            return await obstore.sign_async(self.store, method, key, lifetime)

    async def probe(self, folder: str) -> None:
        """Put an object, read it and delete it: all that is needed must be allowed.

        Raises StorageAnswerUnusable when something else comes back.
        """
        key = f"{folder}/probe-{new_id().hex}"

        async def pieces() -> AsyncIterator[bytes]:
            yield PROBE

        await self.put(key, pieces(), size_bytes=len(PROBE), content_type="text/plain")
        try:
            found = await self.read(key, len(PROBE))
        finally:
            await self.delete(key)
        if found != PROBE:
            raise StorageAnswerUnusable(bucket=self.name, reason="it gives back something else")


@dataclass(slots=True, eq=False)
class _Body:
    """Counts and hashes what passes through, and keeps what went wrong."""

    pieces: AsyncIterator[bytes]
    size_bytes: int
    failure: BaseException | None = None
    _seen_bytes: int = 0
    _hash: hashlib._Hash = field(default_factory=hashlib.sha256)

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()

    async def read(self) -> bytes:
        return b"".join([piece async for piece in self])

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        """As many pieces as make it worth to wake the client, which has threads of its own."""
        gathered: list[bytes] = []
        size_bytes = 0
        try:
            while size_bytes < GATHER_BYTES:
                gathered.append(await self._next())
                size_bytes += len(gathered[-1])
        except StopAsyncIteration:
            if not gathered:
                raise
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            self.failure = error
            raise
        return gathered[0] if len(gathered) == 1 else b"".join(gathered)

    async def _next(self) -> bytes:
        try:
            piece = await anext(self.pieces)
        except StopAsyncIteration:
            if self._seen_bytes != self.size_bytes:
                raise self._misframed() from None
            raise
        self._seen_bytes += len(piece)
        if self._seen_bytes > self.size_bytes:
            raise self._misframed()
        self._hash.update(piece)
        return piece

    def _misframed(self) -> BulkheadError:
        return ObjectMisframed(given=self._seen_bytes, declared=self.size_bytes)


def verify_key(key: str) -> None:
    """Pass, or raise ObjectNameRefused for a key that storages or their tools read differently."""
    shown = ascii(key[:80])[1:-1]
    if not key or len(key.encode("utf-8", "replace")) > KEY_BYTES_MAX:
        raise ObjectNameRefused(key=shown, reason=f"it must have 1 to {KEY_BYTES_MAX} bytes")
    if not key.isprintable() or "\\" in key:
        raise ObjectNameRefused(key=shown, reason="it has characters that cannot be printed, or \\")
    if {"", ".", ".."} & set(key.split("/")):
        raise ObjectNameRefused(key=shown, reason="a part of it is empty, '.' or '..'")


def render_disposition(disposition: Disposition, file_name: str) -> str:
    """The header Content-Disposition, with the name in a form that takes any. Source: RFC 6266."""
    if not file_name:
        return disposition.value
    # In names of old systems some characters mean something; what is left is the extended form.
    plain = "".join(it if it.isalnum() or it in "-_. " else "_" for it in file_name)
    ascii_name = plain.encode("ascii", "replace").decode().replace("?", "_")
    return (
        f'{disposition.value}; filename="{ascii_name}"; '
        f"filename*=UTF-8''{quote(file_name, safe='', errors='replace')}"
    )
