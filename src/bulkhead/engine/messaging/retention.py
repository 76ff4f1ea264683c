"""How long events, inboxes and discarded deliveries are kept.

An inbox outlives the outboxes that feed it: an event that is delivered again for whatever reason
must still find its row.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

from bulkhead.engine.clock import now
from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.connections.queries import load_queries

if TYPE_CHECKING:
    from bulkhead.engine.connections.database import OpenDatabase

QUERIES = load_queries(__package__)

PRUNE_MAX = 5000


@dataclass(frozen=True, slots=True)
class Retention:
    """Days; the inbox's must be the greater number."""

    events_days: int = 14
    inbox_days: int = 30

    def __post_init__(self) -> None:
        assert self.inbox_days > self.events_days, "an inbox must outlive the outboxes"


async def prune(database: OpenDatabase, retention: Retention) -> int:
    """Delete what is older than `retention`, in short transactions; return how many rows."""
    pruned = 0
    for query, days in (
        (QUERIES.prune_events, retention.events_days),
        (QUERIES.prune_inbox, retention.inbox_days),
        (QUERIES.prune_discarded, retention.inbox_days),
    ):
        deleted = PRUNE_MAX
        before = first_id_at(now() - dt.timedelta(days=days))
        while deleted == PRUNE_MAX:
            async with database.transaction(SERVICE) as tx:
                status = await tx.execute(query, days, PRUNE_MAX, before)
            deleted = int(status.split()[-1])
            pruned += deleted
    return pruned


def first_id_at(at: dt.datetime) -> UUID:
    """The smallest UUIDv7 of an instant: the key that bounds what is older."""
    return UUID(int=int(at.timestamp() * 1000) << 80)
