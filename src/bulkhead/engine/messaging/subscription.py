"""Who receives which event, and in which database."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bulkhead.engine.errors import TopologyInvalid

if TYPE_CHECKING:
    from bulkhead.engine.connections.transaction import Transaction

Handle = Callable[["Transaction", Any], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class Subscription:
    """A handler: what `database` does when an event of class `event` has happened elsewhere.

    `handle(tx, event)` runs in a service transaction of `database` together with the inbox row
    that keeps it from running twice for the same event. Several events may share that
    transaction; when it fails, each is tried in a transaction of its own, so `handle` may do
    nothing outside of `tx`. With `batch=True` it is `handle(tx, events)`, in the order of
    publication.

    What it raises counts as a failed attempt, except Unavailable: that is tried again without end.
    """

    event: type[Any]
    database: str
    name: str
    """Unique in the application and never reused: `products.commit_stock`."""
    handle: Handle
    batch: bool = False

    @property
    def type(self) -> str:
        """The type of the events it receives."""
        kind: str = self.event.type
        return kind


def check_subscriptions(application: str, subscriptions: Sequence[Subscription]) -> None:
    """Raise TopologyInvalid when a name is used twice, or two event classes share a type."""
    names: set[str] = set()
    classes: dict[str, type[Any]] = {}
    for subscription in subscriptions:
        if subscription.name in names or not subscription.name:
            reason = f"handler '{subscription.name}' is declared twice"
            raise TopologyInvalid(application=application, reason=reason)
        names.add(subscription.name)
        if classes.setdefault(subscription.type, subscription.event) is not subscription.event:
            reason = f"two classes have the event type '{subscription.type}'"
            raise TopologyInvalid(application=application, reason=reason)
