"""Whether every event that was received was published, and every event published received."""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import aclosing
from typing import TYPE_CHECKING
from uuid import UUID

from bulkhead.engine.clock import now
from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.connections.queries import load_queries
from bulkhead.engine.messaging.outbox import Outbox
from bulkhead.engine.monitoring.invariant import Violation

if TYPE_CHECKING:
    from bulkhead.engine.connections.database import OpenDatabase
    from bulkhead.engine.connections.router import Router
    from bulkhead.engine.messaging.subscription import Subscription

QUERIES = load_queries(__package__)

PAGE_ROWS = 10_000
RECENT_S = 86_400.0
"""Younger events are never pruned, so that what is missing was lost."""


async def find_ghosts(router: Router, as_of: dt.datetime | None = None) -> list[Violation]:
    """Events that a database has received and none has published.

    Such an event was taken back after it had been delivered: its outbox was restored from an
    earlier instant than the inbox. Looks at events of the last RECENT_S before `as_of`: now, or
    the instant of the backup from which the databases were restored.
    """
    oldest = _first_id((as_of or now()) - dt.timedelta(seconds=RECENT_S))
    ghosts: list[Violation] = []
    for database in router:
        pages = _received(database, oldest)
        async with aclosing(pages):
            async for page in pages:
                # The inbox was read first: whatever stands in it was published before.
                missing = set(page)
                for producer in router:
                    missing -= await _published(producer, missing)
                ghosts += [
                    Violation(f"{database.name}.inbox {event_id}", "no database has published it")
                    for event_id in sorted(missing)
                ]
    return ghosts


async def find_lost(router: Router) -> list[Violation]:
    """Recent events that were acknowledged for a handler which has not received them.

    Looks at events that are younger than the first one the handler received: before that, it may
    not have subscribed. A router without an outbox has no handlers.
    """
    if not isinstance(router.events, Outbox):
        return []
    subscriptions = router.events.subscriptions
    first = {
        name: await _first_received(router, subscription)
        for name, subscription in subscriptions.items()
    }
    known = {name: since for name, since in first.items() if since is not None}
    lost: list[Violation] = []
    for producer in router:
        pages = _acknowledged(producer, known, subscriptions)
        async with aclosing(pages):
            async for page in pages:
                # The outbox was read first: an effect is there before it is acknowledged.
                missing = await _without_inbox(router, subscriptions, page)
                lost += [
                    Violation(
                        f"{producer.name}.events {event_id}",
                        f"acknowledged, but '{handler}' has not received it",
                    )
                    for event_id, handler in missing
                ]
    return lost


def _first_id(at: dt.datetime) -> UUID:
    """The lowest UUIDv7 that could have been made at that instant."""
    return UUID(int=int(at.timestamp() * 1000) << 80)


async def _received(database: OpenDatabase, since: UUID) -> AsyncGenerator[list[UUID], None]:
    after = UUID(int=max(since.int - 1, 0))
    while True:
        async with database.transaction(SERVICE, read_only=True) as tx:
            rows = await tx.fetch(QUERIES.received_events, after, PAGE_ROWS)
        if not rows:
            return
        page = [row["event_id"] for row in rows]
        yield page
        after = page[-1]


async def _published(producer: OpenDatabase, ids: Iterable[UUID]) -> set[UUID]:
    if not (wanted := list(ids)):
        return set()
    async with producer.transaction(SERVICE, read_only=True) as tx:
        return {row["id"] for row in await tx.fetch(QUERIES.published_events, wanted)}


async def _first_received(router: Router, subscription: Subscription) -> UUID | None:
    async with router.database(subscription.database).transaction(SERVICE, read_only=True) as tx:
        first: UUID | None = await tx.fetchval(QUERIES.first_received, subscription.name)
    return first


async def _acknowledged(
    producer: OpenDatabase, known: Mapping[str, UUID], subscriptions: Mapping[str, Subscription]
) -> AsyncGenerator[list[tuple[UUID, str]], None]:
    """Yield pages of recent events with a handler for which nothing is left to deliver."""
    names = sorted(known)
    types = [subscriptions[name].type for name in names]
    after, handler = UUID(int=0), ""
    while names:
        async with producer.transaction(SERVICE, read_only=True) as tx:
            rows = await tx.fetch(
                QUERIES.acknowledged_events,
                names,
                types,
                [known[name] for name in names],
                after,
                handler,
                RECENT_S,
                PAGE_ROWS,
            )
        if not rows:
            return
        page = [(row["id"], row["handler"]) for row in rows]
        yield page
        after, handler = page[-1]


async def _without_inbox(
    router: Router, subscriptions: Mapping[str, Subscription], page: list[tuple[UUID, str]]
) -> list[tuple[UUID, str]]:
    missing: list[tuple[UUID, str]] = []
    for handler in sorted({handler for _, handler in page}):
        ids = [event_id for event_id, name in page if name == handler]
        database = router.database(subscriptions[handler].database)
        async with database.transaction(SERVICE, read_only=True) as tx:
            rows = await tx.fetch(QUERIES.not_received, handler, ids)
        missing += [(row["event_id"], handler) for row in rows]
    return missing
