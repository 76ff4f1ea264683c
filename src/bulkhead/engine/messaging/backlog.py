"""What waits in an outbox, for metrics and for people."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bulkhead.engine.connections.queries import load_queries

if TYPE_CHECKING:
    from bulkhead.engine.connections.transaction import Transaction

QUERIES = load_queries(__package__)


@dataclass(frozen=True, slots=True)
class Backlog:
    """What one handler has still to receive from one outbox."""

    database: str
    handler: str
    waiting: int
    """All of it, dead letters included."""
    dead: int
    leased: int
    oldest_s: float
    """Seconds since the oldest of them was published."""

    def __str__(self) -> str:
        return f"{self.waiting} for {self.handler} in {self.database}, {self.dead} of them dead"


async def list_backlog(tx: Transaction) -> list[Backlog]:
    """The backlog of the outbox in the database of `tx`, by handler; empty when nothing waits."""
    return [
        Backlog(
            tx.database,
            row["handler"],
            row["waiting"],
            row["dead"],
            row["leased"],
            row["oldest_s"],
        )
        for row in await tx.fetch(QUERIES.list_backlog)
    ]
