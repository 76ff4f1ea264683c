"""Whether every numeric column holds numbers.

A CHECK such as `amount > 0` accepts NaN, which PostgreSQL sorts above every number.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.connections.queries import load_queries
from bulkhead.engine.connections.sql import identifier
from bulkhead.engine.monitoring.invariant import Violation

if TYPE_CHECKING:
    from bulkhead.engine.connections.database import OpenDatabase
    from bulkhead.engine.connections.router import Router

QUERIES = load_queries(__package__)


async def find_not_numbers(router: Router) -> list[Violation]:
    """Numeric columns of any database in which NaN or an infinity stands; reads every table."""
    found: list[Violation] = []
    for database in router:
        found += await _search(database)
    return found


async def _search(database: OpenDatabase) -> list[Violation]:
    found: list[Violation] = []
    async with database.transaction(SERVICE, read_only=True) as tx:
        for row in await tx.fetch(QUERIES.numeric_columns):
            table = f"{identifier(row['schema'])}.{identifier(row['table'])}"
            counts = ", ".join(
                f"count(*) filter (where {identifier(column)}::text in"
                f" ('NaN', 'Infinity', '-Infinity')) as {identifier(column)}"
                for column in row["columns"]
            )
            counted = await tx.fetchrow(f"select {counts} from {table}")
            assert counted is not None, "a count returns a row"
            found += [
                Violation(
                    f"{database.name}.{row['table']}.{column}",
                    f"{counted[column]} rows hold something that is no number",
                )
                for column in row["columns"]
                if counted[column]
            ]
    return found
