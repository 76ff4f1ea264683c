"""Values as MySQL's binary protocol carries them: what it would mangle is refused or converted."""

import datetime as dt
import math
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any
from uuid import UUID

from bulkhead.engine.drivers.errors import ValueInvalid

INTEGER_MIN = -(2**63)
INTEGER_MAX = 2**64 - 1
FIXED_BYTES = 32
"""More than a number or an instant takes."""
LENGTH_BYTES = 9
CHARACTER_BYTES_MAX = 4
MANY = 32
LARGE = 4096


def parameter(value: object) -> object:
    """A value as the client library binds it; raises ValueInvalid.

    An instant with a zone becomes one in UTC without; a UUID becomes text.
    """
    convert = _CONVERT.get(type(value))
    if convert is None:
        convert = next((f for kind, f in _CONVERT.items() if isinstance(value, kind)), None)
    if convert is None:
        raise ValueInvalid(sqlstate="22000", type=type(value).__name__)
    return convert(value)


def any_large(values: Sequence[object]) -> bool:
    """Whether it is worth while to add up how large values are."""
    if len(values) > MANY:
        return True
    for value in values:
        if isinstance(value, str | bytes | bytearray) and len(value) > LARGE:
            return True
    return False


def size_bytes(values: Sequence[object]) -> int:
    """How many bytes values take at most."""
    return sum(_size_bytes(value) for value in values)


def _size_bytes(value: object) -> int:
    match value:
        case str():
            return LENGTH_BYTES + len(value) * (1 if value.isascii() else CHARACTER_BYTES_MAX)
        case bytes() | bytearray():
            return LENGTH_BYTES + len(value)
    return FIXED_BYTES


def _same(value: Any) -> object:  # noqa: ANN401
    found: object = value
    return found


def _integer(value: int) -> int:
    if not INTEGER_MIN <= value <= INTEGER_MAX:
        raise ValueInvalid(sqlstate="22003")
    return value


def _number(value: Any) -> object:  # noqa: ANN401
    if not math.isfinite(value):
        raise ValueInvalid(sqlstate="22003")
    found: object = value
    return found


def _text(value: str) -> str:
    if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
        raise ValueInvalid(sqlstate="22021")
    return value


def _instant(value: dt.datetime) -> dt.datetime:
    return value if value.tzinfo is None else value.astimezone(dt.UTC).replace(tzinfo=None)


# A subclass stands before its base: bool is an int, and an instant is a day.
_CONVERT: dict[type, Callable[[Any], object]] = {
    type(None): _same,
    bool: _same,
    int: _integer,
    str: _text,
    float: _number,
    Decimal: _number,
    bytes: _same,
    bytearray: _same,
    dt.datetime: _instant,
    dt.date: _same,
    dt.time: _same,
    dt.timedelta: _same,
    UUID: str,
}
