"""What a column of a reference really is in its database, and how its keys travel in bulk.

Keys of fixed width are packed into one value per page, because decoding a page of 50,000 UUIDs row
by row costs several times what the server needs to read them.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING
from uuid import UUID

from bulkhead.engine.connections.queries import load_queries
from bulkhead.engine.connections.sql import identifier
from bulkhead.engine.errors import BulkheadError

if TYPE_CHECKING:
    from bulkhead.engine.connections.transaction import Transaction
    from bulkhead.engine.topology import Column, Table, Topology

QUERIES = load_queries(__package__, "columns.sql")

Key = bytes | str
"""A key as it travels: some bytes for UUIDs and integers, else its text."""
Packed = bytes | list[str]
"""Many keys as they travel: one after the other, or a list of texts."""


class ReferenceBroken(BulkheadError):
    """A reference cannot be checked: {reason}."""

    code = "reference_broken"
    hint = "Correct the topology or migrate the database: bulkhead migrate plan."


class KeyKind(StrEnum):
    """How keys of a type are packed."""

    UUID = "uuid"
    INTEGER = "integer"
    TEXT = "text"


_WIDTHS = {KeyKind.UUID: 16, KeyKind.INTEGER: 8}
_PACKED = {
    KeyKind.UUID: "string_agg(uuid_send(key), '')",
    KeyKind.INTEGER: "string_agg(int8send(key), '')",
    KeyKind.TEXT: "array_agg(key::text)",
}
_UNPACKED = {
    KeyKind.UUID: (
        "select encode(substr($1::bytea, 1 + 16 * n, 16), 'hex')::uuid as key"
        " from generate_series(0, length($1::bytea) / 16 - 1) as n"
    ),
    KeyKind.INTEGER: (
        "select ('x' || encode(substr($1::bytea, 1 + 8 * n, 8), 'hex'))::bit(64)::bigint as key"
        " from generate_series(0, length($1::bytea) / 8 - 1) as n"
    ),
    KeyKind.TEXT: "select unnest($1::text[])::{type} as key",
}


@dataclass(frozen=True, slots=True)
class ColumnFacts:
    """A column as the catalogue knows it."""

    name: str
    type: str
    required: bool
    indexed: bool
    """Whether an index begins with it, so that its keys can be read in order."""

    @property
    def kind(self) -> KeyKind:
        """How its keys are packed."""
        if self.type == "uuid":
            return KeyKind.UUID
        if self.type in {"smallint", "integer", "bigint"}:
            return KeyKind.INTEGER
        return KeyKind.TEXT

    @property
    def packed(self) -> str:
        """An SQL aggregate that packs a page of `key` in the order in which it is read."""
        return _PACKED[self.kind]

    @property
    def unpacked(self) -> str:
        """An SQL query that takes the page in `$1` apart again, as rows of `key`."""
        return _UNPACKED[self.kind].format(type=self.type)

    def last_of(self, packed: Packed) -> str:
        """The last key of a page that is not empty, as text."""
        return self.text(packed[-_WIDTHS[self.kind] :] if isinstance(packed, bytes) else packed[-1])

    def unpack(self, packed: Packed | None) -> Sequence[Key]:
        """Take a page apart; None is an empty page."""
        if packed is None:
            return ()
        if isinstance(packed, bytes):
            width = _WIDTHS[self.kind]
            return struct.unpack(f"{width}s" * (len(packed) // width), packed)
        return packed

    def text(self, key: Key) -> str:
        """The key as PostgreSQL writes it."""
        if isinstance(key, str):
            return key
        if self.kind is KeyKind.UUID:
            return str(UUID(bytes=key))
        return str(int.from_bytes(key, "big", signed=True))


@dataclass(frozen=True, slots=True)
class TableFacts:
    """A table of a reference: its quoted name and the columns that matter."""

    name: str
    column: ColumnFacts
    keys: tuple[ColumnFacts, ...]
    """The columns of its primary key."""

    @property
    def row_key(self) -> str:
        """An SQL expression for a row's key as text: JSON when the key has several columns."""
        if len(self.keys) == 1:
            return f"{identifier(self.keys[0].name)}::text"
        parts = ", ".join(f"{identifier(key.name)}::text" for key in self.keys)
        return f"jsonb_build_array({parts})::text"

    @property
    def row_in(self) -> str:
        """An SQL condition that an index serves where it can: the row's key is in `$1::text[]`."""
        if len(self.keys) == 1:
            return f"{identifier(self.keys[0].name)} = any($1::text[]::{self.keys[0].type}[])"
        return f"{self.row_key} = any($1::text[])"


def find_table(topology: Topology, column: Column) -> Table:
    """The declared table of `column`; raises ReferenceBroken when there is none."""
    table = topology.database(column.database).table(column.table)
    if table is None:
        raise ReferenceBroken(reason=f"no table '{column.table}' in '{column.database}'")
    return table


def qualified(table: Table) -> str:
    """The table's quoted name with its schema."""
    return f"{identifier(table.schema)}.{identifier(table.name)}"


async def read_table(tx: Transaction, topology: Topology, column: Column) -> TableFacts:
    """Look up the table of `column` in the catalogue; raises ReferenceBroken."""
    table = find_table(topology, column)
    names = [column.column, *table.key]
    rows = await tx.fetch(QUERIES.column_facts, qualified(table), names)
    facts = {
        row["name"]: ColumnFacts(row["name"], row["type"], row["required"], row["indexed"])
        for row in rows
    }
    for name in names:
        if name not in facts:
            raise ReferenceBroken(
                reason=f"database '{column.database}' has no column '{column.table}.{name}'"
            )
    return TableFacts(
        qualified(table), facts[column.column], tuple(facts[name] for name in table.key)
    )
