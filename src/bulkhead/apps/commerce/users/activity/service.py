"""Use cases of the activity log in the users database."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from uuid import UUID

from bulkhead.engine.connections.queries import load_queries

if TYPE_CHECKING:
    from bulkhead.engine.connections.transaction import Transaction

QUERIES = load_queries(__package__)


@dataclass(frozen=True, slots=True)
class Activity:
    """An entry of the log; its id follows from the event that it tells of."""

    id: UUID
    user_id: UUID
    action: str
    order_id: UUID | None = None
    details: Mapping[str, Any] = field(default_factory=dict)


async def log_activity(tx: Transaction, entries: Sequence[Activity]) -> None:
    """Log entries; repeatable, because an id is logged once."""
    rows = [
        {
            "id": str(entry.id),
            "user_id": str(entry.user_id),
            "action": entry.action,
            "subject_kind": "order" if entry.order_id else None,
            "subject_id": str(entry.order_id) if entry.order_id else None,
            "details": dict(entry.details),
        }
        for entry in entries
    ]
    await tx.execute(QUERIES.log_activity, json.dumps(rows))


async def list_activity(db: Transaction, limit: int) -> list[dict[str, Any]]:
    """The newest entries of the asking user."""
    rows = await db.fetch(QUERIES.list_activity, None, None, limit)
    return [{**dict(row), "details": json.loads(row["details"])} for row in rows]
