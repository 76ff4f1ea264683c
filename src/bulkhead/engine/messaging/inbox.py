"""The inbox: a row per event and handler, written in the handler's own transaction.

It makes delivery at least once into an effect exactly once: of two deliveries of the same event
the second waits for the first, finds its row and does nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING
from uuid import UUID

from bulkhead.engine.connections.queries import load_queries

if TYPE_CHECKING:
    from bulkhead.engine.connections.transaction import Transaction

QUERIES = load_queries(__package__)

GATE_KEY = 0x42554C4B47415445
"""The advisory lock that every delivery shares; who holds it alone lets none be received."""


async def receive(tx: Transaction, handler: str, event_ids: Sequence[UUID]) -> set[UUID]:
    """Enter events into the inbox of `handler`, and return those that it has not had before.

    Waits for the gate, should somebody have closed it to take a backup of several databases.
    """
    rows = await tx.fetch(QUERIES.receive, handler, list(event_ids), GATE_KEY)
    return {row["event_id"] for row in rows}
