"""Entries of the audit log; each belongs to the transaction that it tells of."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from bulkhead.engine.connections.queries import load_queries
from bulkhead.engine.ids import new_id

if TYPE_CHECKING:
    from uuid import UUID

    from bulkhead.engine.connections.transaction import Transaction

QUERIES = load_queries(__package__)
LAST = 2**62
BROKEN_MAX = 100


async def log_action(
    tx: Transaction,
    action: str,
    *,
    store: UUID | None = None,
    actor: UUID | None = None,
    **details: Any,  # noqa: ANN401 - what json can write
) -> None:
    """Note that `actor` did `action`, such as `store.created`; never with a secret."""
    written = json.dumps(details, default=str)
    await tx.execute(QUERIES.add_entry, new_id(), store, actor, action, written)


async def list_entries(
    db: Transaction, store: UUID | None, *, before: int = LAST, limit: int = 100
) -> list[dict[str, Any]]:
    """Entries, the newest first, of those before a position."""
    rows = await db.fetch(QUERIES.list_entries, store, before, limit)
    return [{**dict(row), "details": json.loads(row["details"])} for row in rows]


async def find_last_of(db: Transaction, store: UUID, *actions: str) -> str | None:
    """Which of `actions` was done to a store last; None when none was."""
    action: str | None = await db.fetchval(QUERIES.find_last_of, store, actions)
    return action


async def list_broken(db: Transaction) -> list[int]:
    """Positions at which somebody has changed the chain; none when all is well."""
    return [row["position"] for row in await db.fetch(QUERIES.broken_entries, BROKEN_MAX)]
