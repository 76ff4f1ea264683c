"""Quoting, for the few statements that cannot take parameters.

Values travel as bound parameters wherever the protocol allows it. It does not in the message that
begins or ends a transaction together with its scope, its markers and its events; there they are
quoted by these functions. `standard_conforming_strings` is on in every session (checked when a
database is attached), so that doubling the quote is complete.
"""

import datetime as dt
import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from uuid import UUID

from bulkhead.engine.errors import Invalid


def literal(value: object) -> str:
    """Render a value as an SQL literal; mappings and sequences become jsonb.

    Raises Invalid for text with a NUL character or a lone surrogate, which PostgreSQL cannot hold.
    """
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case int() | Decimal():
            return f"{value}" if value >= 0 else f"({value})"
        case str():
            return _quoted(value)
        case UUID():
            return f"'{value}'::uuid"
        case dt.datetime() | dt.date():
            return f"'{value.isoformat()}'"
        case Mapping() | Sequence():
            return f"{_quoted(json.dumps(value, default=str))}::jsonb"
    return _quoted(str(value))


def identifier(name: str) -> str:
    """Quote a name, so that it can be nothing but a name."""
    _check(name)
    return '"' + name.replace('"', '""') + '"'


def _quoted(text: str) -> str:
    _check(text)
    return "'" + text.replace("'", "''") + "'"


def _check(text: str) -> None:
    if "\0" in text:
        raise Invalid(reason="text must not contain a NUL character")
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise Invalid(reason="text must not contain a lone surrogate") from None
