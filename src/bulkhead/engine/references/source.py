"""Reads the keys that a reference holds, page by page, without a long transaction.

Where an index begins with the column, pages are ranges of keys; otherwise they are ranges of rows
in the order of the primary key. Either way a page is one short transaction of its own, so that a
sweep of hours keeps no snapshot that would hold back vacuum, and can go on from any position.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.connections.queries import load_queries
from bulkhead.engine.connections.sql import identifier
from bulkhead.engine.references.columns import ColumnFacts, Packed
from bulkhead.engine.references.referrers import Referrers, read_referrers

if TYPE_CHECKING:
    from bulkhead.engine.connections.database import OpenDatabase
    from bulkhead.engine.connections.router import Router
    from bulkhead.engine.connections.transaction import Transaction, TransactionBlock
    from bulkhead.engine.topology import Reference, Topology

QUERIES = load_queries(__package__, "source.sql")

STATEMENT_S = 300
"""A page may take this long; counting a large table does."""


ROWS_FACTOR = 10
"""How much larger a page of rows is than a page of keys: its keys lie scattered over the target,
so that looking up many of them at once costs less for each."""


@dataclass(frozen=True, slots=True)
class Page:
    """Distinct keys from a stretch of the source, and where it begins and ends."""

    packed: Packed
    rows: int
    after: str | None
    last: str
    ordered: bool
    """Whether it holds all keys between its first and its last, in order."""


@dataclass(frozen=True, slots=True)
class Source:
    """The referring side of a reference."""

    rows: Referrers
    database: OpenDatabase

    @property
    def path(self) -> tuple[ColumnFacts, ...]:
        """The columns in whose order pages follow one another."""
        return (self.rows.column,) if self.rows.column.indexed else self.rows.table.keys

    async def count_rows(self) -> int:
        """Count the rows that hold the reference."""
        async with self.transaction(read_only=True) as tx:
            await tx.execute(f"set local statement_timeout = '{STATEMENT_S}s'")
            count: int = await tx.fetchval(
                QUERIES.count_rows.format(table=self.rows.table.name, held=self.rows.held)
            )
        return count

    async def read_page(self, after: str | None, limit: int) -> Page | None:
        """Read the keys that follow position `after`; None at the end.

        At most `limit` keys, or those of some ROWS_FACTOR times as many rows.
        """
        async with self.transaction(read_only=True) as tx:
            await tx.execute(QUERIES.prefer_indexes)
            if self.rows.column.indexed:
                return await self._read_by_key(tx, after, limit)
            return await self._read_by_row(tx, after, limit * ROWS_FACTOR)

    async def count_of(self, keys: Collection[str], page: Page) -> int:
        """Count the rows of `page` that refer to any of `keys`."""
        if not keys:
            return 0
        within, positions = self.within(page, 2)
        async with self.transaction(read_only=True) as tx:
            await tx.execute(QUERIES.prefer_indexes)
            count: int = await tx.fetchval(self.rows.counting(within), list(keys), *positions)
        return count

    def within(self, page: Page, parameter: int) -> tuple[str, list[str]]:
        """An SQL condition "the row belongs to `page`" and its parameters, numbered from there.

        A page of keys needs none beside the keys themselves.
        """
        if page.ordered:
            return "true", []
        if page.after is None:
            return self._compare("<=", parameter), [page.last]
        both = f"{self._compare('>', parameter)} and {self._compare('<=', parameter + 1)}"
        return both, [page.after, page.last]

    def transaction(self, *, read_only: bool = False) -> TransactionBlock:
        """A transaction in the source's database as the application itself."""
        return self.database.transaction(SERVICE, read_only=read_only, timeout_s=STATEMENT_S + 10)

    async def _read_by_key(self, tx: Transaction, after: str | None, limit: int) -> Page | None:
        row = await tx.fetchrow(
            QUERIES.page_by_key.format(
                **self.rows.names(), packed=self.rows.column.packed, after=self._after(after)
            ),
            limit,
            *_given(after),
        )
        if row is None or row["keys"] is None:
            return None
        last = json.dumps([self.rows.column.last_of(row["keys"])])
        return Page(row["keys"], row["rows"], after, last, ordered=True)

    async def _read_by_row(self, tx: Transaction, after: str | None, limit: int) -> Page | None:
        keys = self.rows.table.keys
        row = await tx.fetchrow(
            QUERIES.page_by_row.format(
                **self.rows.names(),
                packed=self.rows.column.packed,
                after=self._after(after),
                path=", ".join(identifier(key.name) for key in keys),
                aliased=", ".join(f"{identifier(key.name)} as k{n}" for n, key in enumerate(keys)),
                aliases=", ".join(f"k{n}" for n in range(len(keys))),
                aliases_down=", ".join(f"k{n} desc" for n in range(len(keys))),
            ),
            limit,
            *_given(after),
        )
        if row is None or not row["rows"]:
            return None
        return Page(row["keys"], row["rows"], after, row["last"], ordered=False)

    def _after(self, after: str | None) -> str:
        return "true" if after is None else self._compare(">", 2)

    def _compare(self, operator: str, parameter: int) -> str:
        """Compare the path with a position; one row comparison, so that an index serves it."""
        path = ", ".join(identifier(column.name) for column in self.path)
        position = ", ".join(
            f"(${parameter}::jsonb ->> {n})::{column.type}" for n, column in enumerate(self.path)
        )
        return f"({path}) {operator} ({position})"


async def open_source(router: Router, topology: Topology, reference: Reference) -> Source:
    """Look up the referring side of `reference`; raises ReferenceBroken."""
    database = router.database(reference.source.database)
    async with database.transaction(SERVICE, read_only=True) as tx:
        return Source(await read_referrers(tx, topology, reference), database)


def _given(after: str | None) -> list[str]:
    return [] if after is None else [after]
