"""Values of an archive as text: what they mean, whichever server wrote them.

PostgreSQL writes `t` where MySQL writes `1`, and an instant with its zone where MySQL has none. Two
cells are the same value when their canonical forms are.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Iterable, Sequence
from decimal import Decimal, InvalidOperation
from enum import Enum, auto
from typing import Final


class Kind(Enum):
    """What a column holds, as far as servers write it differently."""

    TEXT = auto()
    BOOLEAN = auto()
    NUMBER = auto()
    INSTANT = auto()
    JSON = auto()
    BYTES = auto()


KINDS: Final = {
    # PostgreSQL
    "bool": Kind.BOOLEAN,
    "int2": Kind.NUMBER,
    "int4": Kind.NUMBER,
    "int8": Kind.NUMBER,
    "numeric": Kind.NUMBER,
    "float4": Kind.NUMBER,
    "float8": Kind.NUMBER,
    "timestamp": Kind.INSTANT,
    "timestamptz": Kind.INSTANT,
    "json": Kind.JSON,
    "jsonb": Kind.JSON,
    "bytea": Kind.BYTES,
    # MySQL
    "tinyint": Kind.BOOLEAN,
    "smallint": Kind.NUMBER,
    "mediumint": Kind.NUMBER,
    "int": Kind.NUMBER,
    "bigint": Kind.NUMBER,
    "decimal": Kind.NUMBER,
    "float": Kind.NUMBER,
    "double": Kind.NUMBER,
    "datetime": Kind.INSTANT,
    "binary": Kind.BYTES,
    "varbinary": Kind.BYTES,
    "blob": Kind.BYTES,
    "mediumblob": Kind.BYTES,
    "longblob": Kind.BYTES,
}
"""By the name of a type; all others are text. MariaDB keeps JSON as text."""
_BOOLEANS: Final = {"t": "1", "true": "1", "f": "0", "false": "0"}


def canonical(kind: Kind, cell: str | None) -> str | None:
    """The one form of a value, however it was written; raises ValueError for what is none."""
    if cell is None:
        return None
    match kind:
        case Kind.BOOLEAN:
            return _BOOLEANS.get(cell, cell)
        case Kind.NUMBER:
            return _number(cell)
        case Kind.INSTANT:
            return parse_instant(cell).isoformat()
        case Kind.JSON:
            return json.dumps(
                json.loads(cell, parse_int=_number, parse_float=_number), sort_keys=True
            )
        case _:
            return cell


def for_mysql(kind: Kind, cell: str | None) -> object:
    """What a statement of MySQL is given for a cell; raises ValueError for what it cannot hold."""
    if cell is None:
        return None
    match kind:
        case Kind.BOOLEAN:
            return _BOOLEANS.get(cell, cell)
        case Kind.INSTANT:
            return parse_instant(cell)
        case Kind.BYTES:
            return bytes.fromhex(cell.removeprefix("\\x"))
        case _:
            return cell


def parse_instant(cell: str) -> dt.datetime:
    """An instant in UTC, without a zone; raises ValueError for one beyond the years of a calendar.

    Cells without a zone are in UTC already.
    """
    instant = dt.datetime.fromisoformat(cell)
    if instant.tzinfo is not None:
        instant = instant.astimezone(dt.UTC).replace(tzinfo=None)
    return instant


def hash_rows(kinds: Sequence[Kind], rows: Iterable[Sequence[str | None]]) -> int:
    """A hash of rows that does not depend on their order, nor on who wrote them."""
    total = 0
    for row in rows:
        told = [canonical(kind, cell) for kind, cell in zip(kinds, row, strict=True)]
        digest = hashlib.sha256(json.dumps(told).encode("utf-8", "surrogatepass")).digest()
        total += int.from_bytes(digest[:8])
    return total


def _number(cell: str) -> str:
    try:
        number = Decimal(cell)
    except InvalidOperation:
        raise ValueError(cell) from None
    if not number.is_finite():
        return cell.lower()
    sign, digits, exponent = number.as_tuple()
    text = "".join(map(str, digits)).lstrip("0")
    shorter = text.rstrip("0")
    if not shorter:
        return "0"
    assert isinstance(exponent, int), "finite"
    return f"{'-' if sign else ''}{shorter}e{exponent + len(text) - len(shorter)}"
