"""Events: past facts of one database that others want to know.

An event is a frozen dataclass with a `type` and a `key`. It travels as JSON; events of one key
arrive in the order in which they happened.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from pydantic import TypeAdapter

from bulkhead.engine.errors import Invalid

if TYPE_CHECKING:
    import datetime as dt
    from uuid import UUID

PAYLOAD_BYTES_MAX = 64 * 1024
KEY_CHARACTERS_MAX = 200

# JSON writes a NUL character as \u0000, unless the backslash is itself escaped.
_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")


class Event(Protocol):
    """What `publish` accepts: any frozen dataclass with these two."""

    type: ClassVar[str]
    """A stable name, `commerce.order_confirmed`."""

    @property
    def key(self) -> str:
        """What the event is about; the order of events is kept for each key."""


class EventTooLarge(Invalid):
    """An event of type '{type}' has {size_bytes} bytes; at most {limit_bytes} are allowed."""

    code = "event_too_large"
    hint = "Publish the id and let the handler's database keep what it needs."


class EventInvalid(Invalid):
    """An event of type '{type}' cannot be published: {reason}."""

    code = "event_invalid"


@dataclass(frozen=True, slots=True)
class Envelope:
    """An event as it stands in an outbox."""

    id: UUID
    type: str
    key: str
    payload: str
    """JSON text."""
    occurred_at: dt.datetime
    source: str
    """The database that published it."""


def encode_event(event: Event) -> str:
    """Render an event as JSON text; raises EventTooLarge or EventInvalid."""
    payload = _adapter(type(event)).dump_json(event)
    if len(payload) > PAYLOAD_BYTES_MAX:
        raise EventTooLarge(type=event.type, size_bytes=len(payload), limit_bytes=PAYLOAD_BYTES_MAX)
    text = payload.decode()
    if _NUL.search(text):
        raise EventInvalid(type=event.type, reason="it contains a NUL character")
    return text


def decode_event(kind: type[Any], payload: str) -> Any:  # noqa: ANN401
    """Read JSON text as an event of class `kind`; raises pydantic.ValidationError.

    Fields that the class does not have are left out, so that a publisher may be newer.
    """
    # mypy takes a class of unknown type for unhashable.
    return _adapter(kind).validate_json(payload)  # type: ignore[arg-type]


def check_key(event: Event) -> str:
    """The event's key; raises EventInvalid for one that is empty or too long."""
    key = event.key
    if not 0 < len(key) <= KEY_CHARACTERS_MAX:
        raise EventInvalid(
            type=event.type,
            reason=f"its key has {len(key)} characters, not 1 to {KEY_CHARACTERS_MAX}",
        )
    return key


@cache
def _adapter(kind: type[Any]) -> TypeAdapter[Any]:
    return TypeAdapter(kind)
