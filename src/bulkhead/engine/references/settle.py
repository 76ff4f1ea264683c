"""Gives rows whose target was deleted what `on_delete` declares."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from bulkhead.engine.connections.queries import load_queries
from bulkhead.engine.topology import OnDelete

if TYPE_CHECKING:
    from bulkhead.engine.connections.transaction import Transaction
    from bulkhead.engine.references.source import Source

QUERIES = load_queries(__package__, "settle.sql")


async def settle_keys(tx: Transaction, source: Source, keys: Sequence[str]) -> int:
    """Apply `on_delete` to the rows that refer to deleted `keys`; returns how many there were.

    Repeatable: a row is found by the key it holds, and no longer holds it afterwards. Rows under
    KEEP and RESTRICT are left alone.
    """
    match source.reference.on_delete:
        case OnDelete.SET_NULL:
            statement = QUERIES.empty_column
        case OnDelete.DELETE:
            statement = QUERIES.delete_rows
        case _:
            return 0
    status = await tx.execute(statement.format(**source.names()), list(keys))
    return int(status.rsplit(" ", 1)[1])
