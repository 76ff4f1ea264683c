"""Tells the referring databases what was deleted, so that `on_delete` takes effect there.

The tombstone is written with the delete, the event with the tombstone's mark, and the effect with
its inbox row: three transactions of one database each, of which every later one happens exactly
once if the one before has.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.connections.queries import load_queries
from bulkhead.engine.ids import derive_id
from bulkhead.engine.messaging.outbox import publish_all
from bulkhead.engine.messaging.subscription import Subscription
from bulkhead.engine.references.referrers import read_referrers
from bulkhead.engine.topology import OnDelete, Reference, Topology

if TYPE_CHECKING:
    from bulkhead.engine.connections.router import Router
    from bulkhead.engine.connections.transaction import Transaction

QUERIES = load_queries(__package__, "deletion.sql")

BATCH_MAX = 5000
"""Tombstones announced in one transaction."""
EVENT_KEYS_MAX = 250
EVENT_CHARACTERS_MAX = 10_000
"""JSON may need six bytes for a character, and an event has room for 64 KiB."""

_FELT = frozenset({OnDelete.SET_NULL, OnDelete.DELETE})


@dataclass(frozen=True, slots=True)
class TargetsDeleted:
    """Rows of `table` that others may refer to have been deleted, or count as such."""

    type: ClassVar[str] = "bulkhead.targets_deleted"
    table: str
    keys: tuple[str, ...]

    @property
    def key(self) -> str:
        """One of its own: deletions need no order."""
        return str(derive_id("targets_deleted", self.table, *self.keys))


def deletion_subscriptions(topology: Topology) -> tuple[Subscription, ...]:
    """A handler for each database with rows that a deletion elsewhere empties or deletes.

    An application adds these to its own subscriptions.
    """
    databases = dict.fromkeys(
        reference.source.database for reference in topology.references if _is_felt(reference)
    )
    return tuple(
        Subscription(
            TargetsDeleted,
            database,
            f"references.{database}",
            partial(settle_deletions, topology),
            batch=True,
        )
        for database in databases
    )


async def announce_deletions(router: Router, topology: Topology) -> int:
    """Publish an event for the tombstones that have none yet; returns for how many.

    Repeatable, and safe when several processes do it at once: each tombstone is announced once.
    """
    announced = 0
    for database in topology.databases:
        tables = sorted(
            {
                reference.target.table
                for reference in topology.references_to(database.name)
                if _is_felt(reference)
            }
        )
        while tables:
            async with router.database(database.name).transaction(SERVICE) as tx:
                count = await _announce_batch(tx, tables)
            announced += count
            if count < BATCH_MAX:
                break
    return announced


async def settle_deletions(
    topology: Topology, tx: Transaction, events: Sequence[TargetsDeleted]
) -> int:
    """Apply `on_delete` to the rows of this database; returns how many were changed.

    Repeatable as `Referrers.settle` is.
    """
    settled = 0
    for reference in topology.references_from(tx.database):
        keys = [
            key for event in events if event.table == reference.target.table for key in event.keys
        ]
        if keys and _is_felt(reference):
            referrers = await read_referrers(tx, topology, reference)
            settled += await referrers.settle(tx, keys)
    return settled


async def _announce_batch(tx: Transaction, tables: Sequence[str]) -> int:
    rows = await tx.fetch(QUERIES.mark_announced, tables, BATCH_MAX)
    events = [
        TargetsDeleted(table, keys)
        for table in tables
        for keys in _chunks(row["key"] for row in rows if row["table_name"] == table)
    ]
    publish_all(tx, events)
    return len(rows)


def _chunks(keys: Iterable[str]) -> Iterator[tuple[str, ...]]:
    """Cut into as many keys as fit into one event."""
    chunk: list[str] = []
    characters = 0
    for key in keys:
        if chunk and (len(chunk) >= EVENT_KEYS_MAX or characters + len(key) > EVENT_CHARACTERS_MAX):
            yield tuple(chunk)
            chunk, characters = [], 0
        chunk.append(key)
        characters += len(key)
    if chunk:
        yield tuple(chunk)


def _is_felt(reference: Reference) -> bool:
    """Whether a deletion changes the referring rows."""
    return reference.on_delete in _FELT
