"""Use cases of stores in the master database."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from uuid import UUID

from bulkhead.apps.store_platform.master.audit.service import find_last_of, log_action
from bulkhead.apps.store_platform.master.billing.service import (
    FREE,
    end_subscription,
    subscribe,
)
from bulkhead.apps.store_platform.master.integrations.service import delete_storage
from bulkhead.apps.store_platform.master.metering.model import StoreClosed
from bulkhead.apps.store_platform.master.stores.model import (
    STORES_SETTING,
    SlugTaken,
    StoreBody,
    StoreChange,
    StoreHasDatabase,
    StoreLimitReached,
    StoreNotDeleted,
    choose_limit,
    make_slug,
    parse_slug,
)
from bulkhead.engine.connections.queries import load_queries
from bulkhead.engine.drivers.errors import UniqueViolated
from bulkhead.engine.errors import NotFound

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Sequence

    from bulkhead.engine.connections.transaction import Transaction

QUERIES = load_queries(__package__)

CLOSED, RESTORED = "store.closed", "store.restored"
GONE_MAX = 100

StoreRow = dict[str, Any]


async def create_store(
    tx: Transaction,
    store: UUID,
    owner: UUID,
    body: StoreBody,
    now: dt.datetime,
    *,
    by_operator: bool = False,
) -> None:
    """Make a store with the free plan and no database yet.

    Raises SlugRefused, SlugTaken, and StoreLimitReached when the owner has as many as one may,
    unless an operator makes it.
    """
    slug = make_slug(body.name) if body.slug is None else parse_slug(body.slug)
    if not by_operator:
        await _verify_room(tx, owner)
    try:
        await tx.execute(QUERIES.add_store, store, body.name, slug, owner, body.currency)
    except UniqueViolated as error:
        raise SlugTaken(slug=slug) from error
    await subscribe(tx, store, FREE, now, actor=owner)
    await log_action(tx, "store.created", store=store, actor=owner, slug=slug)


async def measure_stores(tx: Transaction, owner: UUID) -> dict[str, int | None]:
    """How many stores an owner has, and how many one may have."""
    used, limit = await _count_stores(tx, owner)
    return {"used": used, "limit": limit}


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


async def find_slugs(db: Transaction, stores: Sequence[UUID]) -> dict[UUID, str]:
    """The slugs of those of `stores` that there are, or were."""
    rows = await db.fetch(QUERIES.find_slugs, stores)
    return {UUID(str(row["id"])): row["slug"] for row in rows}


async def list_stores(
    db: Transaction, *, before: tuple[dt.datetime, UUID] | None, limit: int
) -> list[StoreRow]:
    """A page of stores, the newest first, older than `before`."""
    created_at, store = before or (None, None)
    return [dict(row) for row in await db.fetch(QUERIES.list_stores, created_at, store, limit)]


async def change_store(
    tx: Transaction, store: UUID, change: StoreChange, *, actor: UUID | None
) -> None:
    """Change what is said of a store; raises NotFound, StoreClosed, SlugRefused, SlugTaken."""
    slug = None if change.slug is None else parse_slug(change.slug)
    try:
        row = await tx.fetchrow(
            QUERIES.change_store, store, change.name, slug, change.is_active, change.is_published
        )
    except UniqueViolated as error:
        raise SlugTaken(slug=slug) from error
    if row is None:
        await get_store(tx, store)
        raise StoreClosed
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
    """Say that the database of a store is being made; nothing for one that is. Raises NotFound."""
    if await tx.fetchrow(QUERIES.begin_provisioning, store, kind, host, database) is None:
        await get_store(tx, store)  # It may have been deleted meanwhile.
    await log_action(tx, "store.provisioned", store=store, actor=actor, kind=kind, host=host)


async def delete_store(tx: Transaction, store: UUID, *, actor: UUID | None) -> None:
    """Let a store be no more, charge nothing more for it, and forget what opens its bucket.

    Raises NotFound, and StoreHasDatabase while it has one.
    """
    row = await get_store(tx, store)
    await delete_storage(tx, store)  # Before the store, as whoever connects one locks them.
    if await tx.fetchrow(QUERIES.delete_store, store) is None:
        # As it is by now: somebody else may have deleted it, or begun to make its database.
        raise StoreHasDatabase(status=(await get_store(tx, store))["database_status"])
    await end_subscription(tx, store)
    await log_action(tx, "store.deleted", store=store, actor=actor, slug=row["slug"])


async def begin_deletion(tx: Transaction, store: UUID, *, actor: UUID | None) -> None:
    """Serve a store no more: its database is to be deleted, and then the store.

    Nothing when that was taken back by now.
    """
    if await tx.fetchrow(QUERIES.switch_off, store) is not None:
        await log_action(tx, CLOSED, store=store, actor=actor)


async def take_back_deletion(tx: Transaction, store: UUID, *, actor: UUID | None) -> None:
    """Serve a store again whose deletion was taken back; nothing when it was begun anew by now."""
    if await tx.fetchrow(QUERIES.switch_on, store) is not None:
        await log_action(tx, RESTORED, store=store, actor=actor)


async def verify_deleted(db: Transaction, store: UUID) -> None:
    """Pass for a store whose deletion can be taken back; raises NotFound, StoreNotDeleted.

    Also where that was begun by a process that died, and where it is done: the store is served.
    """
    row = await get_store(db, store)
    status = row["database_status"]
    is_served = status == "active" and row["is_active"]
    if status in {"deleting", "deleted"} or is_served:
        return
    if await find_last_of(db, store, CLOSED, RESTORED) != CLOSED:
        raise StoreNotDeleted(status=status)


async def end_deletions(tx: Transaction) -> int:
    """Let stores be no more whose databases are gone; return how many."""
    rows = await tx.fetch(QUERIES.list_gone, GONE_MAX)
    for row in rows:
        await delete_store(tx, row["id"], actor=None)
    return len(rows)


async def _verify_room(tx: Transaction, owner: UUID) -> None:
    """Until `tx` ends nobody else makes a store for this owner."""
    await tx.fetchval(QUERIES.lock_owner, owner)
    used, limit = await _count_stores(tx, owner)
    if used >= limit:
        raise StoreLimitReached(limit=limit)


async def _count_stores(tx: Transaction, owner: UUID) -> tuple[int, int]:
    rows = await tx.fetch(QUERIES.list_limits, STORES_SETTING, owner)
    limit = choose_limit([json.loads(row["value"]) for row in rows])
    return await tx.fetchval(QUERIES.count_owned, owner), limit
