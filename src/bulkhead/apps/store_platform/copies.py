"""Rows that come into a store: of another store, of an archive, or of a database that stores share.

The store serves nobody meanwhile. Its rows are replaced in one transaction, then the master counts
anew what it has, and only then it is served again: whoever is interrupted in between finds the
store suspended, and repeats the whole. Before the rows come, files do, which may take long: who is
stopped then leaves the store served as it was.

Files come along from the bucket that has them, see `media_copies.py`; the store's own are replaced
with the rows. Where they do not come along, a store that has files itself is refused, and what the
rows say of files is forgotten.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import sqlalchemy as sa

from bulkhead.apps.store_platform.master.audit.service import log_action
from bulkhead.apps.store_platform.master.intelligence.service import begin_anew
from bulkhead.apps.store_platform.master.metering.model import Contents, Metric
from bulkhead.apps.store_platform.master.metering.service import lock_taken, recount
from bulkhead.apps.store_platform.media_copies import Carried, Carrier, Source, Tell
from bulkhead.apps.store_platform.storage import StorageInUse, StorageNotConnected
from bulkhead.apps.store_platform.store.catalogue_tables import CATEGORIES
from bulkhead.apps.store_platform.store.content_tables import MEDIA_LIBRARY, SETTINGS
from bulkhead.apps.store_platform.store.media.model import object_key
from bulkhead.apps.store_platform.store.media.service import walk_media
from bulkhead.apps.store_platform.store.records.service import count_products
from bulkhead.apps.store_platform.store.sales_tables import ORDERS
from bulkhead.apps.store_platform.store.schema import METADATA
from bulkhead.capabilities.vault.errors import SecretDestroyed
from bulkhead.engine import failpoints
from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.drivers.errors import is_connection_loss
from bulkhead.engine.errors import BulkheadError
from bulkhead.engine.fleet.connection import TenantConnection
from bulkhead.engine.fleet.copying import replace_rows
from bulkhead.engine.fleet.load import load_archive, read_table, verify_fit
from bulkhead.engine.fleet.model import TenantId, TenantRow, TenantState
from bulkhead.engine.fleet.notices import ServerUntold
from bulkhead.engine.fleet.owner import past_policies
from bulkhead.engine.fleet.ownership import find_ownership
from bulkhead.engine.fleet.registry import get_tenant
from bulkhead.engine.fleet.rows import list_tables
from bulkhead.engine.fleet.split import Ownership, open_shared, split_tenant, walk_shared

if TYPE_CHECKING:
    from pathlib import Path

    from bulkhead.apps.store_platform.fleet import Platform
    from bulkhead.capabilities.storage import Bucket, StorageConfig
    from bulkhead.engine.fleet.archive import Manifest
    from bulkhead.engine.fleet.model import ConnectionConfig

COPIED: Final = failpoints.register("stores.copies:copied")
COUNTED: Final = failpoints.register("stores.copies:counted")
COUNT_TIMEOUT_S: Final = 600.0
PAGE_FILES: Final = 200
FIRST_ROWS: Final = MappingProxyType({SETTINGS.name: 1000, CATEGORIES.name: 1})
"""The tables in which a new store has rows already, and how many it may have there."""
_TOLD: Final = ("id", "storage_key", "file_name", "content_type", "size_bytes", "sha256")
"""Columns of a file that a shared database, or an archive, is asked for."""


@dataclass(frozen=True, slots=True)
class Shared:
    """A database that several stores share, and which of its rows are those of one."""

    config: ConnectionConfig
    key: str
    """What the column says for this store."""
    column: str = "store_id"
    whole: Collection[str] = ()
    left: Collection[str] = ()
    files: StorageConfig | None = None
    """The bucket with the objects that `media_library.storage_key` names there."""


@dataclass(frozen=True, slots=True)
class Copied:
    """What came into a store."""

    rows: int
    tables: Mapping[str, int] = field(default_factory=dict)
    """How many rows of each, where that is known."""
    files: int = 0
    size_bytes: int = 0
    """Of the files."""
    left: Mapping[UUID, str] = field(default_factory=dict)
    """Files that did not come, each with the code of the reason; their rows are gone, too."""


@dataclass(slots=True)
class _Closed:
    """A store that serves nobody for now."""

    row: TenantRow
    may_have_rows: bool = False
    """Whether rows may have come by now."""
    has_new_rows: bool = False
    carrier: Carrier | None = None


@dataclass(frozen=True, slots=True)
class Copies:
    """Replaces the rows of stores."""

    platform: Platform

    async def clone(
        self,
        source: UUID,
        target: UUID,
        *,
        with_files: bool = True,
        tell: Tell | None = None,
        actor: UUID | None = None,
    ) -> Copied:
        """Give `target` the rows of `source`, and its files.

        Raises CloneRefused, CopyUnderway, StorageInUse, TenantUnknown, TenantChanged, and what
        `Carrier` does.
        """
        async with self._closed(target, f"it becomes a copy of {source}") as closed:
            await self.platform.lifecycle.verify_clone(TenantId(source), TenantId(target))
            files = self._files_of(source) if with_files else None
            carrier = await self._bring(closed, files, tell)
            both = await self.platform.lifecycle.verify_clone(TenantId(source), TenantId(target))
            rows = await replace_rows(self.platform.databases, *both)
            return await self._end(closed, carrier, "store.cloned", actor, Copied(rows), source)

    async def split(
        self, target: UUID, shared: Shared, *, tell: Tell | None = None, actor: UUID | None = None
    ) -> Copied:
        """Give `target` the rows that it has in a shared database, and files from a bucket.

        Nothing is changed there. Raises OwnerUnknown, SplitRefused, RowsDiffer, CopyUnderway,
        StorageInUse, TenantUnknown, TenantChanged, and what `Carrier` does.
        """
        async with open_shared(shared.config) as connection:
            columns = {table.name: table.columns for table in await list_tables(connection)}
            ownership = find_ownership(
                METADATA, columns, shared.column, whole=shared.whole, left=shared.left
            )
            async with self._closed(target, "it gets its rows from a shared database") as closed:
                rows_of = partial(walk_shared, connection, key=shared.key, ownership=ownership)
                files = self._files_in(shared, ownership, rows_of)
                carrier = await self._bring(closed, files, tell)
                databases, row = self.platform.databases, closed.row
                sums = await split_tenant(databases, connection, shared.key, row, ownership)
                tables = {name: found.rows for name, found in sums.items()}
                copied = Copied(sum(tables.values()), tables)
                return await self._end(closed, carrier, "store.split", actor, copied)

    async def load(
        self,
        target: UUID,
        path: Path,
        *,
        is_replacing: bool = False,
        files_of: UUID | None = None,
        tell: Tell | None = None,
        actor: UUID | None = None,
    ) -> tuple[Manifest, Copied]:
        """Give `target`, which is new or with `is_replacing` any store, the rows of an archive.

        An archive has no files. With `files_of` they come from the bucket of that store, or, when
        it is no more, from where it left them in the bucket of `target`. An archive may say of
        itself what it likes, so whose files they are is for the caller to say. Raises
        ArchiveBroken, ArchiveUnfit, RowsDiffer, CopyUnderway, StorageInUse, TenantUnknown,
        TenantChanged, and what `Carrier` does.
        """
        async with self._closed(target, f"{path.name} is loaded into it") as closed:
            await verify_fit(closed.row, path)
            files = None if files_of is None else self._files_named(path, files_of, target)
            carrier = await self._bring(closed, files, tell)
            manifest = await load_archive(
                self.platform.databases,
                closed.row,
                path,
                first_rows=FIRST_ROWS,
                is_replacing=is_replacing,
            )
            source, tables = manifest.tenant, {it.table: it.rows for it in manifest.tables}
            copied = Copied(manifest.rows, tables)
            copied = await self._end(closed, carrier, "store.loaded", actor, copied, source)
        return manifest, copied

    @asynccontextmanager
    async def _closed(self, store: UUID, reason: str) -> AsyncIterator[_Closed]:
        """Serve nobody; open again what was open, unless rows came and were not counted.

        What somebody else suspends meanwhile stays so. Raises CopyUnderway.
        """
        async with (
            self.platform.lifecycle.copying_alone(TenantId(store)),
            self._suspended(store, reason) as closed,
        ):
            yield closed

    @asynccontextmanager
    async def _suspended(self, store: UUID, reason: str) -> AsyncIterator[_Closed]:
        tenant = TenantId(store)
        before = await self.platform.fleet.describe(tenant)
        is_open = before.state is TenantState.ACTIVE
        try:
            closed = _Closed(await self.platform.lifecycle.suspend(tenant, reason))
        except ServerUntold as error:
            if is_open:
                with suppress(ServerUntold):  # It was not told of the suspension either.
                    await self.platform.lifecycle.resume(tenant)
            raise error.__cause__ or error from None
        try:
            yield closed
        except BulkheadError as error:
            may_have_rows = closed.has_new_rows or is_connection_loss(error)
            if closed.carrier is not None and not may_have_rows and not is_passing(error):
                with suppress(BulkheadError):  # The sweep does it later.
                    await closed.carrier.take_back()
            if is_open and not may_have_rows:
                await self._open_again(closed.row)
            raise
        except asyncio.CancelledError:
            if is_open and not closed.may_have_rows:
                with suppress(BulkheadError):
                    await self._open_again(closed.row)
            raise
        if is_open:
            await self._open_again(closed.row)

    async def _open_again(self, row: TenantRow) -> None:
        """Serve a store again, unless somebody has suspended it for another reason since."""
        async with self.platform.master.transaction(SERVICE, read_only=True) as tx:
            now = await get_tenant(tx, row.id)
        if (now.state, now.reason) == (row.state, row.reason):
            await self.platform.lifecycle.resume(row.id)

    async def _bring(
        self, closed: _Closed, files: Source | None, tell: Tell | None
    ) -> Carrier | None:
        """Copy files before the rows come; without any, the store must have none."""
        store = closed.row.id
        if files is None:
            async with self.platform.master.transaction(SERVICE) as tx:
                if taken := await lock_taken(tx, store, Metric.STORAGE_BYTES):
                    raise StorageInUse(size_bytes=taken)
            closed.may_have_rows = True
            return None
        closed.carrier = carrier = Carrier(self.platform.media, store, files, tell)
        async with self._opened(closed.row) as db:
            await carrier.bring(db)
        closed.may_have_rows = True
        return carrier

    async def _end(
        self,
        closed: _Closed,
        carrier: Carrier | None,
        action: str,
        actor: UUID | None,
        copied: Copied,
        source: object = None,
    ) -> Copied:
        """Let files and figures be those of the new rows, and tell what came."""
        closed.has_new_rows = True
        await failpoints.reach(COPIED)
        store = closed.row.id
        async with self._opened(closed.row) as db:
            if carrier is None:
                await db.execute(sa.delete(MEDIA_LIBRARY))
            else:
                await carrier.finish(db)
                left, size_bytes = dict(carrier.left), carrier.size_bytes
                copied = Copied(copied.rows, copied.tables, carrier.files, size_bytes, left)
            contents = await count_contents(db, copied.size_bytes)
        details: dict[str, object] = {
            "rows": copied.rows,
            "files": copied.files,
            "files_left": len(copied.left),
        }
        if source is not None:
            details = {"source": source, **details}
        async with self.platform.master.transaction(SERVICE) as tx:
            await recount(tx, store, contents)
            await begin_anew(tx, store)
            await log_action(tx, action, store=store, actor=actor, **details)
        await failpoints.reach(COUNTED)
        return copied

    def _files_of(self, store: UUID) -> Source:
        """The files of a store, where they are."""

        async def pages() -> AsyncIterator[Sequence[Carried]]:
            async with self._opened(await self.platform.fleet.describe(TenantId(store))) as db:
                async for page in walk_media(db, PAGE_FILES):
                    yield [Carried.of_row(row, object_key(store, row["id"])) for row in page]

        async def bucket() -> Bucket:
            return await self.platform.media.storages.open(store)

        return Source(bucket, pages, lambda media, _: object_key(store, media))

    def _files_in(
        self,
        shared: Shared,
        ownership: Mapping[str, Ownership],
        rows_of: Callable[..., AsyncIterator[Sequence[Mapping[str, Any]]]],
    ) -> Source | None:
        """The files that a shared database tells of, in a bucket that an operator names."""
        config = shared.files
        if config is None or MEDIA_LIBRARY.name not in ownership:
            return None

        async def pages() -> AsyncIterator[Sequence[Carried]]:
            async for page in rows_of(MEDIA_LIBRARY.name, columns=_TOLD, rows=PAGE_FILES):
                yield [Carried.of_row(row, row["storage_key"]) for row in page]

        async def bucket() -> Bucket:
            return await self.platform.media.storages.buckets.open(config)

        return Source(bucket, pages, lambda _, key: key, is_ours=False)

    def _files_named(self, path: Path, store: UUID, target: UUID) -> Source:
        """The files that an archive tells of, where `store` had them."""

        async def pages() -> AsyncIterator[Sequence[Carried]]:
            async for rows in read_table(path, MEDIA_LIBRARY.name, PAGE_FILES):
                yield [Carried.of_row(row, object_key(store, UUID(str(row["id"])))) for row in rows]

        async def bucket() -> Bucket:
            storages = self.platform.media.storages
            try:
                return await storages.open(store)
            except (StorageNotConnected, SecretDestroyed):  # With its store, when that is no more.
                return await storages.open(target)

        return Source(bucket, pages, lambda media, _: object_key(store, media))

    @asynccontextmanager
    async def _opened(self, row: TenantRow) -> AsyncIterator[TenantConnection]:
        """The database of a store, whatever state it is in, with every row of it."""
        async with past_policies(self.platform.databases, row) as raw:
            yield TenantConnection(raw, row.id, timeout_s=COUNT_TIMEOUT_S)


def is_passing(error: BulkheadError) -> bool:
    """Whether the same attempt may succeed a moment later, with what was copied for it."""
    return error.status >= 500  # noqa: PLR2004 - HTTP's


async def count_contents(db: TenantConnection, size_bytes: int) -> Contents:
    """Count what plans limit, in the database of a store whose files have `size_bytes`."""
    products = await count_products(db)
    orders = await db.fetch_value(sa.select(sa.func.count().label("n")).select_from(ORDERS))
    return Contents(products, int(orders), storage_bytes=size_bytes)
