"""Dead letters: deliveries that failed too often, kept until somebody decides.

A dead letter holds back what follows under its key for its handler, and nothing else. All functions
take a service transaction of the database that published the event.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID

from bulkhead.engine.connections.queries import load_queries
from bulkhead.engine.errors import NotFound
from bulkhead.engine.messaging.event import Envelope
from bulkhead.engine.messaging.listener import CHANNEL
from bulkhead.engine.messaging.outbox import Outbox

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Mapping

    from bulkhead.engine.connections.transaction import Transaction

QUERIES = load_queries(__package__)

PAGE_MAX = 500


class DeadLetterUnknown(NotFound):
    """Handler '{handler}' has no dead letter of event {event_id} in '{database}'."""

    code = "dead_letter_unknown"
    hint = "List them: bulkhead event dead list."


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A delivery that was given up on."""

    envelope: Envelope
    handler: str
    attempts: int
    error: str
    dead_at: dt.datetime
    blocked: int
    """How many later deliveries of the same key wait behind it."""


async def list_dead_letters(tx: Transaction, *, limit: int = PAGE_MAX) -> list[DeadLetter]:
    """The dead letters of the outbox in the database of `tx`, oldest first."""
    return [_parse(tx, row) for row in await tx.fetch(QUERIES.list_dead_letters, limit)]


async def get_dead_letter(tx: Transaction, event_id: UUID, handler: str) -> DeadLetter:
    """One dead letter with payload, error and attempts; raises DeadLetterUnknown."""
    row = await tx.fetchrow(QUERIES.find_dead_letter, event_id, handler)
    if row is None:
        raise _unknown(tx, event_id, handler)
    return _parse(tx, row)


async def resend(tx: Transaction, event_id: UUID, handler: str) -> None:
    """Have a delivery tried again at once, with all its attempts: a dead, waiting or discarded one.

    A discarded one goes behind what waits under its key by now. Raises DeadLetterUnknown when
    there is none, or somebody is delivering it at this moment.
    """
    found = await tx.fetchval(QUERIES.resend, event_id, handler)
    if found is None:
        found = await tx.fetchval(QUERIES.restore_discarded, event_id, handler)
    if found is None:
        raise _unknown(tx, event_id, handler)
    _ring_after(tx)


async def discard(tx: Transaction, event_id: UUID, handler: str, reason: str) -> None:
    """Never deliver a dead letter, and record why; what waits behind it goes on.

    Raises DeadLetterUnknown.
    """
    if await tx.fetchval(QUERIES.discard, event_id, handler, reason) is None:
        raise _unknown(tx, event_id, handler)
    _ring_after(tx)


def _ring_after(tx: Transaction) -> None:
    """Make every relay look everywhere once `tx` is durable: what waited is old."""
    tx.at_commit(f"notify {CHANNEL}")
    if isinstance(tx.events, Outbox):
        outbox, database = tx.events, tx.database
        tx.after_commit(lambda: outbox.ring(database, frozenset()))


def _unknown(tx: Transaction, event_id: UUID, handler: str) -> DeadLetterUnknown:
    return DeadLetterUnknown(handler=handler, event_id=event_id, database=tx.database)


def _parse(tx: Transaction, row: Mapping[str, Any]) -> DeadLetter:
    return DeadLetter(
        Envelope(
            row["event_id"],
            row["type"],
            row["key"],
            row["payload"],
            row["occurred_at"],
            tx.database,
        ),
        row["handler"],
        row["attempts"],
        row["last_error"] or "",
        row["dead_at"],
        row["blocked"],
    )
