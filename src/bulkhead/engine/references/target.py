"""Finds which keys of a page have no row in the table they refer to.

Two ways, chosen page by page: fetch the target's keys of the same range and compare, which wins
while both sides are about equally dense, or send the page's keys and have them looked up, which
wins where the target has many keys between two of the source's.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.connections.queries import load_queries
from bulkhead.engine.connections.sql import identifier
from bulkhead.engine.references.columns import (
    ColumnFacts,
    Key,
    ReferenceBroken,
    TableFacts,
    read_table,
)
from bulkhead.engine.references.source import QUERIES as SOURCE_QUERIES
from bulkhead.engine.references.source import STATEMENT_S, Page, Source

if TYPE_CHECKING:
    from bulkhead.engine.connections.database import OpenDatabase
    from bulkhead.engine.connections.router import Router
    from bulkhead.engine.connections.transaction import Transaction, TransactionBlock
    from bulkhead.engine.topology import Topology

QUERIES = load_queries(__package__, "target.sql")

DENSITY_MAX = 5
"""Looking a key up costs about as much as fetching this many in order (measured)."""


@dataclass(frozen=True, slots=True)
class Target:
    """The side of a reference that is referred to."""

    name: str
    """The reference's."""
    database: OpenDatabase
    table: TableFacts
    table_name: str

    @property
    def column(self) -> ColumnFacts:
        """The key column."""
        return self.table.column

    async def find_missing(self, page: Page, source: ColumnFacts) -> Mapping[str, bool]:
        """The keys of `page` without a row, each with whether it has a tombstone.

        Every key in the answer was looked up by itself, together with its tombstone, in one
        statement that began after the page had been read: a row that existed when it was referred
        to is either still there or has its tombstone.
        """
        async with self.transaction(read_only=True) as tx:
            if page.ordered:
                await tx.execute(SOURCE_QUERIES.prefer_indexes)
                keys = sorted(await self._narrow(tx, source, source.unpack(page.packed)))
                return await self.look_up(tx, [source.text(key) for key in keys])
            await tx.execute(QUERIES.plan_freely)
            statement = QUERIES.missing_packed.format(
                table=self.table.name,
                column=identifier(self.column.name),
                unpacked=source.unpacked,
            )
            missing = [row["key"] for row in await tx.fetch(statement, page.packed)]
            return await self.look_up(tx, missing)

    async def look_up(self, tx: Transaction, keys: list[str]) -> Mapping[str, bool]:
        """Those of `keys` without a row, each with whether it has a tombstone."""
        if not keys:
            return {}
        statement = QUERIES.missing_keys.format(
            table=self.table.name, column=identifier(self.column.name), type=self.column.type
        )
        rows = await tx.fetch(statement, keys, self.table_name)
        return {row["key"]: row["tombstoned"] for row in rows}

    def transaction(self, *, read_only: bool = False) -> TransactionBlock:
        """A transaction in the target's database as the application itself."""
        return self.database.transaction(SERVICE, read_only=read_only, timeout_s=STATEMENT_S + 10)

    async def _narrow(
        self, tx: Transaction, source: ColumnFacts, keys: Sequence[Key]
    ) -> Collection[Key]:
        """Take away what the target's keys of the same range cover."""
        left = set(keys)
        limit = len(keys)
        first, last, passed = source.text(keys[0]), source.text(keys[-1]), 0
        statement = QUERIES.key_range
        while True:
            packed = await tx.fetchval(
                statement.format(
                    table=self.table.name,
                    column=identifier(self.column.name),
                    type=self.column.type,
                    packed=self.column.packed,
                ),
                limit,
                first,
                last,
            )
            found = self.column.unpack(packed)
            left.difference_update(found)
            if len(found) < limit:
                return left
            before, passed = passed, bisect_right(keys, found[-1])
            if (passed - before) * DENSITY_MAX < len(found):
                return left
            first, statement = self.column.text(found[-1]), QUERIES.key_range_after


async def open_target(router: Router, topology: Topology, source: Source) -> Target:
    """Look up the side that `source` refers to; raises ReferenceBroken."""
    column = source.rows.reference.target
    database = router.database(column.database)
    async with database.transaction(SERVICE, read_only=True) as tx:
        table = await read_table(tx, topology, column)
    if table.column.kind is not source.rows.column.kind:
        raise ReferenceBroken(
            reason=f"{source.rows.name}: {source.rows.column.type} refers to {table.column.type}"
        )
    return Target(source.rows.name, database, table, column.table)
