"""What has been published, and the life of one event from its outbox to every inbox."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from uuid import UUID

from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.connections.queries import load_queries
from bulkhead.engine.errors import NotFound, Unavailable
from bulkhead.engine.messaging.event import Envelope

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Mapping

    from bulkhead.engine.connections.router import Router
    from bulkhead.engine.connections.transaction import Transaction

QUERIES = load_queries(__package__)

PAGE_MAX = 100


class EventUnknown(NotFound):
    """Database '{database}' has no event {event_id}."""

    code = "event_unknown"


@dataclass(frozen=True, slots=True)
class Pending:
    """A delivery that was not made yet, or never will be."""

    handler: str
    attempts: int
    available_at: dt.datetime | None
    leased_until: dt.datetime | None
    dead_at: dt.datetime | None
    error: str | None
    discarded_because: str | None


@dataclass(frozen=True, slots=True)
class Receipt:
    """A handler that has taken effect."""

    database: str
    handler: str
    received_at: dt.datetime


@dataclass(frozen=True, slots=True)
class EventStory:
    """The life of one event."""

    envelope: Envelope
    pending: tuple[Pending, ...]
    receipts: tuple[Receipt, ...]
    unreachable: tuple[str, ...] = field(default=())
    """Databases whose inbox could not be asked."""


async def list_events(
    tx: Transaction, *, kind: str | None = None, before: UUID | None = None, limit: int = PAGE_MAX
) -> list[Envelope]:
    """The events published in the database of `tx`, newest first; `before` asks for older ones."""
    rows = await tx.fetch(QUERIES.list_events, kind, before, limit)
    return [_parse_envelope(tx, row) for row in rows]


async def get_event(router: Router, database: str, event_id: UUID) -> EventStory:
    """Tell the life of an event of the outbox of `database`; raises EventUnknown."""
    async with router.database(database).transaction(SERVICE, read_only=True) as tx:
        row = await tx.fetchrow(QUERIES.find_event, event_id)
        if row is None:
            raise EventUnknown(database=database, event_id=event_id)
        envelope = _parse_envelope(tx, row)
        pending = [
            Pending(
                each["handler"],
                each["attempts"],
                each["available_at"],
                each["leased_until"],
                each["dead_at"],
                each["last_error"],
                each["discarded_because"],
            )
            for each in await tx.fetch(QUERIES.list_event_deliveries, event_id)
        ]
    receipts: list[Receipt] = []
    unreachable: list[str] = []
    for name in router.databases:
        try:
            receipts += await _list_receipts(router, name, event_id)
        except Unavailable:
            unreachable.append(name)
    return EventStory(envelope, tuple(pending), tuple(receipts), tuple(unreachable))


async def _list_receipts(router: Router, database: str, event_id: UUID) -> list[Receipt]:
    async with router.database(database).transaction(SERVICE, read_only=True) as tx:
        rows = await tx.fetch(QUERIES.list_receipts, event_id)
    return [Receipt(database, row["handler"], row["received_at"]) for row in rows]


def _parse_envelope(tx: Transaction, row: Mapping[str, Any]) -> Envelope:
    return Envelope(
        row["id"], row["type"], row["key"], row["payload"], row["occurred_at"], tx.database
    )
