"""The outbox: an event is written in the transaction that makes it true, or not at all.

Its rows ride in the message that commits, so that publishing costs no round trip. Nothing is sent
from there: after the commit whoever carries the deliveries of that database is rung.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING
from uuid import UUID

from bulkhead.engine.connections.claims import Role
from bulkhead.engine.connections.sql import literal
from bulkhead.engine.errors import BulkheadError
from bulkhead.engine.ids import new_id
from bulkhead.engine.messaging.event import Event, check_key, encode_event
from bulkhead.engine.messaging.subscription import Subscription, check_subscriptions

if TYPE_CHECKING:
    from bulkhead.engine.connections.transaction import Transaction

Ring = Callable[[frozenset[str]], None]


class PublishRefused(BulkheadError):
    """An event of type '{type}' cannot be published in this transaction: {reason}."""

    code = "publish_refused"
    hint = "Publish within `router.database(...).transaction(SERVICE)`."


class Outbox:
    """The subscriptions of one application; given to its Router as the sink of events."""

    def __init__(self, application: str, subscriptions: Sequence[Subscription]) -> None:
        """Raises TopologyInvalid when two subscriptions contradict each other."""
        check_subscriptions(application, subscriptions)
        self.application = application
        self.subscriptions = {subscription.name: subscription for subscription in subscriptions}
        self._handlers: dict[str, frozenset[str]] = {}
        for subscription in subscriptions:
            others = self._handlers.get(subscription.type, frozenset())
            self._handlers[subscription.type] = others | {subscription.name}
        self._rings: dict[str, Ring] = {}

    def on_publish(self, database: str, ring: Ring | None) -> None:
        """Call `ring` with the handlers' names after a commit in `database`; None ends it."""
        if ring is None:
            self._rings.pop(database, None)
        else:
            self._rings[database] = ring

    def publish(self, tx: Transaction, event: Event) -> UUID:
        """Write `event` with the commit of `tx`; see the function below."""
        return self.publish_all(tx, [event])[0]

    def publish_all(self, tx: Transaction, events: Sequence[Event]) -> list[UUID]:
        """Write `events` in their order with the commit of `tx`, in two statements."""
        ids = [new_id() for _ in events]
        written: list[str] = []
        deliveries: list[str] = []
        woken: set[str] = set()
        for event_id, event in zip(ids, events, strict=True):
            if tx.claims.role is not Role.SERVICE:
                raise PublishRefused(type=event.type, reason=f"it runs as {tx.claims.role.value}")
            key = literal(check_key(event))
            payload = literal(encode_event(event))
            written.append(f"('{event_id}',{literal(event.type)},{key},{payload})")
            for handler in sorted(self._handlers.get(event.type, ())):
                woken.add(handler)
                deliveries.append(f"('{event_id}',{literal(handler)},{key})")
        if written:
            tx.at_commit(
                f"insert into bulkhead.events(id,type,key,payload)values{','.join(written)}"
            )
        if deliveries:
            tx.at_commit(
                f"insert into bulkhead.deliveries(event_id,handler,key)values{','.join(deliveries)}"
            )
            tx.after_commit(partial(self._ring, tx.database, frozenset(woken)))
        return ids

    def _ring(self, database: str, handlers: frozenset[str]) -> None:
        if (ring := self._rings.get(database)) is not None:
            ring(handlers)


def publish(tx: Transaction, event: Event) -> UUID:
    """Publish `event` if and when `tx` commits, and return its id.

    Costs no round trip. Raises PublishRefused for a client's transaction, whose role cannot write
    to the outbox, EventTooLarge and EventInvalid.
    """
    return _outbox(tx, event).publish(tx, event)


def publish_all(tx: Transaction, events: Sequence[Event]) -> list[UUID]:
    """Publish `events` in their order; half the price of publishing many one by one."""
    return _outbox(tx, events[0]).publish_all(tx, events) if events else []


def _outbox(tx: Transaction, event: Event) -> Outbox:
    if not isinstance(tx.events, Outbox):
        raise PublishRefused(type=event.type, reason="its router was opened without an outbox")
    return tx.events
