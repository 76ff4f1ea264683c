"""The outbox: an event is written in the transaction that makes it true, or not at all.

Its rows ride in the message that commits, so that publishing costs no round trip. Nothing is sent
from there: after the commit whoever carries the deliveries of that database is rung.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class _Audience:
    """Who receives the events of one type; quoted once."""

    type: str
    handlers: tuple[str, ...]
    names: frozenset[str]


class Outbox:
    """The subscriptions of one application; given to its Router as the sink of events."""

    def __init__(self, application: str, subscriptions: Sequence[Subscription]) -> None:
        """Raises TopologyInvalid when two subscriptions contradict each other."""
        check_subscriptions(application, subscriptions)
        self.application = application
        self.subscriptions = {subscription.name: subscription for subscription in subscriptions}
        self._audiences = {
            kind: _audience(kind, subscriptions)
            for kind in {subscription.type for subscription in subscriptions}
        }
        self._rings: dict[str, Ring] = {}

    def on_publish(self, database: str, ring: Ring | None) -> None:
        """Call `ring` with the handlers' names after a commit in `database`; None ends it."""
        if ring is None:
            self._rings.pop(database, None)
        else:
            self._rings[database] = ring

    def ring(self, database: str, handlers: frozenset[str]) -> None:
        """Say that `handlers` have something to receive; none of them means: look everywhere."""
        if (ring := self._rings.get(database)) is not None:
            ring(handlers)

    def publish(self, tx: Transaction, event: Event) -> UUID:
        """Write `event` with the commit of `tx`; see the function below."""
        return self.publish_all(tx, (event,))[0]

    def publish_all(self, tx: Transaction, events: Sequence[Event]) -> list[UUID]:
        """Write `events` in their order with the commit of `tx`, in two statements."""
        ids: list[UUID] = []
        written: list[str] = []
        deliveries: list[str] = []
        names: frozenset[str] = frozenset()
        for event in events:
            if tx.claims.role != Role.SERVICE:
                raise PublishRefused(type=event.type, reason=f"it runs as {tx.claims.role}")
            audience = self._audiences.get(event.type) or _audience(event.type, ())
            event_id = new_id()
            ids.append(event_id)
            key = literal(check_key(event))
            written.append(f"('{event_id}',{audience.type},{key},{literal(encode_event(event))})")
            deliveries += [f"('{event_id}',{handler},{key})" for handler in audience.handlers]
            names |= audience.names
        if written:
            rows = ",".join(written)
            tx.at_commit(f"insert into bulkhead.events(id,type,key,payload)values{rows}")
        if deliveries:
            rows = ",".join(deliveries)
            tx.at_commit(f"insert into bulkhead.deliveries(event_id,handler,key)values{rows}")
            tx.after_commit(partial(self.ring, tx.database, names))
        return ids


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


def _audience(kind: str, subscriptions: Sequence[Subscription]) -> _Audience:
    names = sorted(each.name for each in subscriptions if each.type == kind)
    return _Audience(literal(kind), tuple(literal(name) for name in names), frozenset(names))
