"""Use cases of stores in the master database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

from bulkhead.apps.store_platform.master.audit.service import log_action
from bulkhead.apps.store_platform.master.billing.service import FREE, subscribe
from bulkhead.apps.store_platform.master.stores.model import (
    SlugTaken,
    StoreBody,
    StoreChange,
    StoreHasDatabase,
    make_slug,
    parse_slug,
)
from bulkhead.engine.connections.queries import load_queries
from bulkhead.engine.drivers.errors import UniqueViolated
from bulkhead.engine.errors import NotFound

if TYPE_CHECKING:
    import datetime as dt

    from bulkhead.engine.connections.transaction import Transaction

QUERIES = load_queries(__package__)

GONE_MAX = 100

StoreRow = dict[str, Any]


async def create_store(
    tx: Transaction, store: UUID, owner: UUID, body: StoreBody, now: dt.datetime
) -> None:
    """Make a store with the free plan and no database yet; raises SlugRefused, SlugTaken."""
    slug = make_slug(body.name) if body.slug is None else parse_slug(body.slug)
    try:
        await tx.execute(QUERIES.add_store, store, body.name, slug, owner, body.currency)
    except UniqueViolated as error:
        raise SlugTaken(slug=slug) from error
    await subscribe(tx, store, FREE, now, actor=owner)
    await log_action(tx, "store.created", store=store, actor=owner, slug=slug)


async def get_store(db: Transaction, store: UUID) -> StoreRow:
    """The store; raises NotFound, also for a store of somebody else."""
    row = await db.fetchrow(QUERIES.find_store, store)
    if row is None:
        raise NotFound(what=f"Store {store}")
    return dict(row)


async def find_store_by_slug(db: Transaction, slug: str) -> UUID | None:
    """The store with this slug, None when there is none that the asking role may see."""
    row = await db.fetchrow(QUERIES.find_store_by_slug, slug)
    return None if row is None else UUID(str(row["id"]))


async def list_stores(
    db: Transaction, *, before: tuple[dt.datetime, UUID] | None, limit: int
) -> list[StoreRow]:
    """A page of stores, the newest first, older than `before`."""
    created_at, store = before or (None, None)
    return [dict(row) for row in await db.fetch(QUERIES.list_stores, created_at, store, limit)]


async def change_store(
    tx: Transaction, store: UUID, change: StoreChange, *, actor: UUID | None
) -> None:
    """Change what is said of a store; raises NotFound, SlugRefused, SlugTaken."""
    slug = None if change.slug is None else parse_slug(change.slug)
    try:
        row = await tx.fetchrow(
            QUERIES.change_store, store, change.name, slug, change.is_active, change.is_published
        )
    except UniqueViolated as error:
        raise SlugTaken(slug=slug) from error
    if row is None:
        raise NotFound(what=f"Store {store}")
    changes = change.model_dump(exclude_none=True)
    await log_action(tx, "store.changed", store=store, actor=actor, **changes)


async def begin_provisioning(
    tx: Transaction,
    store: UUID,
    kind: str,
    host: str | None,
    database: str | None,
    *,
    actor: UUID | None,
) -> None:
    """Say that the database of a store is being made; nothing for one that is."""
    await tx.execute(QUERIES.begin_provisioning, store, kind, host, database)
    await log_action(tx, "store.provisioned", store=store, actor=actor, kind=kind, host=host)


async def delete_store(tx: Transaction, store: UUID, *, actor: UUID | None) -> None:
    """Let a store be no more; raises NotFound, and StoreHasDatabase while it has one."""
    row = await get_store(tx, store)
    if await tx.fetchrow(QUERIES.delete_store, store) is None:
        raise StoreHasDatabase(status=row["database_status"])
    await log_action(tx, "store.deleted", store=store, actor=actor, slug=row["slug"])


async def begin_deletion(tx: Transaction, store: UUID, *, actor: UUID | None) -> None:
    """Serve a store no more: its database is to be deleted, and then the store."""
    await tx.execute(QUERIES.switch_off, store, False)  # noqa: FBT003 - a value of the query
    await log_action(tx, "store.closed", store=store, actor=actor)


async def take_back_deletion(tx: Transaction, store: UUID, *, actor: UUID | None) -> None:
    """Serve a store again whose deletion was taken back."""
    await tx.execute(QUERIES.switch_off, store, True)  # noqa: FBT003 - a value of the query
    await log_action(tx, "store.restored", store=store, actor=actor)


async def end_deletions(tx: Transaction) -> int:
    """Let stores be no more whose databases are gone; return how many."""
    rows = await tx.fetch(QUERIES.list_gone, GONE_MAX)
    for row in rows:
        await delete_store(tx, row["id"], actor=None)
    return len(rows)
