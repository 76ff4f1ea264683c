"""Guess a value for a column from its type and its CHECK constraints, as SQL text."""

import re

from bulkhead.engine.connections.sql import literal
from bulkhead.engine.ids import derive_id
from bulkhead.engine.schema.probes.samples import Samples, Sql, Value
from bulkhead.engine.schema.relations import ColumnFacts, Relation

_CHOICES = re.compile(r"= ANY \(\(?ARRAY\[(.*?)\]")
_QUOTED = re.compile(r"'((?:[^']|'')*)'")

_BY_TYPE: dict[str, str] = {
    "boolean": "false",
    "smallint": "1",
    "integer": "1",
    "bigint": "1",
    "numeric": "1",
    "real": "1",
    "double precision": "1",
    "date": "current_date",
    "time without time zone": "'12:00'",
    "timestamp with time zone": "now()",
    "timestamp without time zone": "localtimestamp",
    "interval": "'1 hour'",
    "json": "'{}'",
    "jsonb": "'{}'",
    "bytea": "'\\x00'",
    "inet": "'192.0.2.1'",
    "tsvector": "''",
    "text[]": "'{}'",
}
_NUMBERED = frozenset({"smallint", "integer", "bigint"})
_SMALL_MAX = 30_000


def render_value(value: Value, number: int) -> str:
    """A declared value as SQL; `number` differs from row to row."""
    if callable(value):
        value = value(number)
    if isinstance(value, Sql):
        return f"({value.text})"
    return literal(value)


def guess_value(relation: Relation, name: str, samples: Samples, number: int) -> str:
    """An SQL expression that the column probably accepts; unique where it has to be."""
    column = relation.columns[name]
    declared = samples.values.get(relation.name, {})
    if column.name in declared:
        return render_value(declared[column.name], number)
    if column.type in samples.types:
        return render_value(samples.types[column.type], number)
    choice = find_choice(column)
    if choice is not None:
        return literal(choice)
    if column.is_array:
        return "'{}'"
    if column.base_type == "uuid":
        return literal(derive_id("probe value", relation.label, name, number))
    if column.base_type in _NUMBERED and relation.is_unique(name):
        return str(number % _SMALL_MAX)
    if column.base_type in _BY_TYPE:
        return _BY_TYPE[column.base_type]
    text = f"{column.name[:8]}{number}"
    return literal(text[-column.length_max :] if column.length_max else text)


def find_choice(column: ColumnFacts) -> str | None:
    """The first of the values that a CHECK constraint lists, or None."""
    for check in column.checks:
        listed = _CHOICES.search(check)
        quoted = _QUOTED.search(listed[1]) if listed else None
        if quoted:
            return quoted[1].replace("''", "'")
    return None
