"""What stores are connected to: databases, and where their files are.

The secrets of a database's connection stand in the registry of tenants, from where it is opened;
those of storage stand sealed beside the row here.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from uuid import UUID

from bulkhead.engine.connections.queries import load_queries
from bulkhead.engine.ids import derive_id

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Mapping

    from bulkhead.engine.connections.transaction import Transaction

QUERIES = load_queries(__package__)


def integration_id(store: UUID, purpose: str) -> UUID:
    """The id of a store's connection for `database` or `storage`; secrets are sealed for it."""
    return derive_id("store_platform.integration", store, purpose)


async def note_database(
    tx: Transaction, store: UUID, kind: str, shown: Mapping[str, Any], *, tested: bool = False
) -> None:
    """Keep what may be shown of a store's database connection; never a secret."""
    status = "working" if tested else "untested"
    key = integration_id(store, "database")
    await tx.execute(
        QUERIES.put_integration, key, store, kind, json.dumps(dict(shown), default=str), status
    )


async def put_storage(
    tx: Transaction, store: UUID, kind: str, shown: Mapping[str, Any], sealed: bytes
) -> None:
    """Keep where a store's files are, and what opens it, sealed for `integration_id`."""
    key = integration_id(store, "storage")
    await tx.execute(QUERIES.put_integration, key, store, kind, json.dumps(dict(shown)), "working")
    await tx.execute(QUERIES.put_secret, key, store, sealed)
    await tx.execute(QUERIES.set_storage, store, kind, "active")


async def delete_storage(tx: Transaction, store: UUID) -> bool:
    """Forget where a store's files are; False when that was not known."""
    row = await tx.fetchrow(QUERIES.delete_integration, integration_id(store, "storage"))
    await tx.execute(QUERIES.set_storage, store, None, "none")
    return row is not None


async def find_secret(db: Transaction, store: UUID, purpose: str) -> Mapping[str, Any] | None:
    """A connection with its sealed part, None when there is none."""
    row = await db.fetchrow(QUERIES.find_secret, store, purpose)
    return None if row is None else {**dict(row), "config_data": json.loads(row["config_data"])}


async def list_integrations(db: Transaction, store: UUID) -> list[dict[str, Any]]:
    """What a store is connected to; without secrets."""
    rows = await db.fetch(QUERIES.list_integrations, store)
    return [{**dict(row), "config_data": json.loads(row["config_data"])} for row in rows]


async def list_storages(db: Transaction, limit: int) -> list[dict[str, Any]]:
    """Which stores have which storage, and how much is in it; without secrets."""
    rows = await db.fetch(QUERIES.list_storages, limit)
    return [{**dict(row), "config_data": json.loads(row["config_data"])} for row in rows]


async def note_tested(
    tx: Transaction, store: UUID, purpose: str, error: str | None, *, as_of: dt.datetime
) -> None:
    """Note how a try of a connection ended; nothing where it was changed after `as_of`."""
    status = "working" if error is None else "failed"
    noted = await tx.fetchrow(QUERIES.note_tested, store, purpose, status, error, as_of)
    if noted is not None and purpose == "storage":
        await tx.execute(QUERIES.note_storage, store, "active" if error is None else "failed")
