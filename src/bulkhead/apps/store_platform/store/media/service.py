"""Rows of the media library; a row is there only while its object is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

import sqlalchemy as sa

from bulkhead.apps.store_platform.store.catalogue_tables import PRODUCTS
from bulkhead.apps.store_platform.store.content_tables import MEDIA_LIBRARY, PRODUCT_MEDIA
from bulkhead.apps.store_platform.store.records import service as records

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from bulkhead.apps.store_platform.store.media.model import MediaChange, NewFile
    from bulkhead.engine.fleet.connection import TenantConnection

Row = dict[str, Any]


async def list_media(db: TenantConnection, *, after: UUID | None, limit: int) -> list[Row]:
    """A page of files, the newest first, of those made before `after`."""
    table = MEDIA_LIBRARY
    statement = sa.select(table).order_by(table.c.id.desc()).limit(limit)
    if after is not None:
        statement = statement.where(table.c.id < after)
    return [dict(row) for row in await db.fetch(statement)]


async def walk_media(db: TenantConnection, limit: int) -> AsyncIterator[list[Row]]:
    """All files, the oldest first, in pages; one that is added or deleted meanwhile may be missed.

    A page may be changed before the next one is asked for.
    """
    table = MEDIA_LIBRARY
    statement = sa.select(table).order_by(table.c.id).limit(limit)
    page = [dict(row) for row in await db.fetch(statement)]
    while page:
        yield page
        if len(page) < limit:
            return
        following = statement.where(table.c.id > page[-1]["id"])
        page = [dict(row) for row in await db.fetch(following)]


async def list_known(db: TenantConnection, media: Sequence[UUID]) -> set[UUID]:
    """Those of some files that there are."""
    column = MEDIA_LIBRARY.c.id
    return {row["id"] for row in await db.fetch(sa.select(column).where(column.in_(media)))}


async def sum_media(db: TenantConnection) -> int:
    """How many bytes all files have together."""
    total = sa.func.coalesce(sa.func.sum(MEDIA_LIBRARY.c.size_bytes), 0)
    return int(await db.fetch_value(sa.select(total.label("total"))))


async def forget_media(db: TenantConnection, media: Sequence[UUID]) -> None:
    """Forget files, and that products and pages show them."""
    await db.execute(sa.delete(MEDIA_LIBRARY).where(MEDIA_LIBRARY.c.id.in_(media)))


async def rename_objects(db: TenantConnection, prefix: str) -> None:
    """Let every file say that its object is called `prefix` and then its id."""
    key = sa.literal(prefix, sa.String(500)) + sa.cast(MEDIA_LIBRARY.c.id, sa.String(36))
    await db.execute(
        sa.update(MEDIA_LIBRARY).where(MEDIA_LIBRARY.c.storage_key != key).values(storage_key=key)
    )


async def find_media(db: TenantConnection, media: UUID) -> Row | None:
    """One file, None when there is none."""
    row = await db.fetch_one(sa.select(MEDIA_LIBRARY).where(MEDIA_LIBRARY.c.id == media))
    return None if row is None else dict(row)


async def get_media(db: TenantConnection, media: UUID) -> Row:
    """One file; raises NotFound."""
    return await records.get_record(db, MEDIA_LIBRARY, media)


async def has_media(db: TenantConnection, media: UUID) -> bool:
    """Whether there is such a file."""
    return await records.has_record(db, MEDIA_LIBRARY, media)


async def add_media(
    db: TenantConnection,
    media: UUID,
    key: str,
    file: NewFile,
    sha256: str | None,
    size: tuple[int, int] | None,
) -> Row:
    """Note a file that is in the storage under `key`; `size` is in pixels.

    Without `sha256` nobody of ours has seen all of its bytes.
    """
    width, height = size or (None, None)
    values = {
        "storage_key": key,
        "file_name": file.name,
        "content_type": file.content_type,
        "size_bytes": file.size_bytes,
        "sha256": sha256,
        "width": width,
        "height": height,
        "alt": file.alt,
        "is_public": file.is_public,
    }
    return await records.add_record(db, MEDIA_LIBRARY, media, values)


async def change_media(db: TenantConnection, media: UUID, change: MediaChange) -> Row:
    """Change what is said of a file; raises NotFound."""
    values = change.model_dump(exclude_none=True)
    return await records.change_record(db, MEDIA_LIBRARY, media, values)


async def delete_media(db: TenantConnection, media: UUID) -> bool:
    """Forget a file, and that products and pages show it; False when there was none."""
    return await records.delete_record(db, MEDIA_LIBRARY, media)


async def set_pictures(db: TenantConnection, product: UUID, media: Sequence[UUID]) -> None:
    """Let a product have just these pictures, in this order.

    Raises NotFound, and ForeignKeyViolated for a file that there is not.
    """
    await records.lock_product(db, product)
    table = PRODUCT_MEDIA
    await db.execute(sa.delete(table).where(table.c.product_id == product))
    for position, each in enumerate(dict.fromkeys(media)):
        await db.execute(
            sa.insert(table).values(product_id=product, media_id=each, position=position)
        )


async def list_pictures(db: TenantConnection, product: UUID) -> list[Row]:
    """The pictures of a product, in their order; raises NotFound."""
    await records.get_record(db, PRODUCTS, product)
    table = PRODUCT_MEDIA
    statement = (
        sa.select(MEDIA_LIBRARY)
        .join(table, table.c.media_id == MEDIA_LIBRARY.c.id)
        .where(table.c.product_id == product)
        .order_by(table.c.position)
    )
    return [dict(row) for row in await db.fetch(statement)]
