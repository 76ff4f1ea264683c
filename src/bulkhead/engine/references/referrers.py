"""The rows that hold a reference, as SQL sees them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bulkhead.engine.connections.queries import load_queries
from bulkhead.engine.connections.sql import identifier
from bulkhead.engine.references.columns import ColumnFacts, TableFacts, read_table
from bulkhead.engine.topology import OnDelete

if TYPE_CHECKING:
    from bulkhead.engine.connections.transaction import Transaction
    from bulkhead.engine.topology import Reference, Topology

QUERIES = load_queries(__package__, "referrers.sql")


@dataclass(frozen=True, slots=True)
class Referrers:
    """The referring rows of a reference."""

    reference: Reference
    table: TableFacts

    @property
    def name(self) -> str:
        """The reference's."""
        return self.reference.name

    @property
    def column(self) -> ColumnFacts:
        """The column that holds the keys."""
        return self.table.column

    @property
    def held(self) -> str:
        """An SQL condition: the row holds the reference."""
        condition = f"{identifier(self.column.name)} is not null"
        where = self.reference.where
        return condition if where is None else f"{condition} and ({where})"

    def names(self) -> dict[str, str]:
        """What fills the placeholders of a statement about these rows."""
        return {
            "table": self.table.name,
            "column": identifier(self.column.name),
            "type": self.column.type,
            "held": self.held,
            "row_key": self.table.row_key,
            "row_in": self.table.row_in,
        }

    def counting(self, within: str = "true") -> str:
        """A statement that counts the rows that refer to any of the keys in `$1::text[]`."""
        statement: str = QUERIES.count_rows_of
        return statement.format(**self.names(), within=within)

    def orphaned(self, missing: Mapping[str, bool]) -> list[str]:
        """The keys that are orphans, of those that are missing with or without a tombstone.

        Under RESTRICT a tombstone is no excuse: nobody should have been able to delete the row.
        """
        restricts = self.reference.on_delete is OnDelete.RESTRICT
        return [key for key, tombstoned in missing.items() if restricts or not tombstoned]

    async def settle(self, tx: Transaction, keys: list[str]) -> int:
        """Apply `on_delete` to the rows that refer to deleted `keys`; returns how many.

        Repeatable: a row is found by the key it holds, and no longer holds it afterwards. Rows
        under KEEP and RESTRICT are left alone.
        """
        match self.reference.on_delete:
            case OnDelete.SET_NULL:
                statement = QUERIES.empty_column
            case OnDelete.DELETE:
                statement = QUERIES.delete_rows
            case _:
                return 0
        status = await tx.execute(statement.format(**self.names()), keys)
        return int(status.rsplit(" ", 1)[1])


async def read_referrers(tx: Transaction, topology: Topology, reference: Reference) -> Referrers:
    """Look up the referring table of `reference`; raises ReferenceBroken."""
    return Referrers(reference, await read_table(tx, topology, reference.source))
