"""Looks for orphans that no sweep has recorded, without recording them."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING

from bulkhead.engine.connections.queries import load_queries
from bulkhead.engine.references.source import Page, Source, open_source
from bulkhead.engine.references.sweep import PAGE_KEYS, compare
from bulkhead.engine.references.target import open_target

if TYPE_CHECKING:
    from bulkhead.engine.connections.router import Router
    from bulkhead.engine.topology import Reference, Topology

QUERIES = load_queries(__package__, "unlisted.sql")


async def count_unlisted(
    router: Router, topology: Topology, reference: Reference, *, page_keys: int = PAGE_KEYS
) -> int:
    """Count the rows that are orphans and not among the open violations; reads everything.

    Raises ReferenceBroken and what keeps either database from answering.
    """
    source = await open_source(router, topology, reference)
    target = await open_target(router, topology, source)
    count = 0
    pages = compare(source, target, page_keys=page_keys)
    async with aclosing(pages):
        async for page, missing in pages:
            orphaned = source.rows.orphaned(missing)
            if orphaned:
                count += await _count(source, page, orphaned)
    return count


async def _count(source: Source, page: Page, keys: list[str]) -> int:
    within, positions = source.within(page, 3)
    statement = QUERIES.count_unlisted.format(**source.rows.names(), within=within)
    async with source.transaction(read_only=True) as tx:
        count: int = await tx.fetchval(statement, source.rows.name, keys, *positions)
    return count
