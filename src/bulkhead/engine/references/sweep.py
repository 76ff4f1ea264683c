"""Sweeps a reference: compares all keys of both sides and records what resolves nowhere.

A page of the source is read first and the target afterwards, each in a short transaction. That
order makes a false orphan impossible while writers go on: what is referred to was written before
it was referred to, so that the later look at the target finds the row, or the tombstone that its
deletion left. A row written behind the position of the sweep is the next sweep's to check.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from bulkhead.engine import failpoints
from bulkhead.engine.clock import monotonic_s
from bulkhead.engine.connections.queries import load_queries
from bulkhead.engine.errors import Conflict
from bulkhead.engine.references.source import STATEMENT_S, Page, Source, open_source
from bulkhead.engine.references.target import Target, open_target

if TYPE_CHECKING:
    from bulkhead.engine.connections.router import Router
    from bulkhead.engine.connections.transaction import Record, Transaction
    from bulkhead.engine.topology import Reference, Topology

QUERIES = load_queries(__package__, "sweep.sql")

PAGE_KEYS = 50_000

BEFORE_PAGE = failpoints.register("references.sweep:before_page_is_recorded")
AFTER_PAGE = failpoints.register("references.sweep:after_page_is_recorded")


class SweepSuperseded(Conflict):
    """Somebody else has taken over the sweep of {reference}."""

    code = "sweep_superseded"
    hint = "Nothing is lost; the other sweep goes on from where this one stopped."


@dataclass(frozen=True, slots=True)
class SweepLimits:
    """How much a sweep may take at once."""

    page_keys: int = PAGE_KEYS
    rows_per_s: float | None = None
    """Rows checked per second at most, so that a sweep in the background stays there."""
    rows_max: int | None = None
    """Stop after this many rows; the next call goes on from there."""


@dataclass(frozen=True, slots=True)
class SweepReport:
    """What a sweep has covered and found, over all the calls it took."""

    reference: str
    rows_checked: int
    rows_total: int
    """The rows that held the reference when the sweep began, counted on their own."""
    complete: bool
    orphans: int
    """Rows whose target neither exists nor was deleted, and that nobody chose to ignore; all of
    them are recorded as violations."""
    tombstoned: int
    """Rows whose target was deleted."""
    started_at: dt.datetime
    duration_s: float
    """How long this call took."""

    @property
    def coverage(self) -> float:
        """The share of rows that was checked, from 0 to 1."""
        return min(1.0, self.rows_checked / self.rows_total) if self.rows_total else 1.0


@dataclass(frozen=True, slots=True)
class Progress:
    """The recorded state of a sweep."""

    fence: int
    position: str | None
    rows_total: int
    rows_checked: int
    orphans: int
    tombstoned: int
    started_at: dt.datetime


async def sweep_reference(
    router: Router,
    topology: Topology,
    reference: Reference,
    *,
    limits: SweepLimits | None = None,
    restart: bool = False,
) -> SweepReport:
    """Check every row that holds `reference`; memory stays flat whatever the size.

    Goes on where an interrupted sweep stopped, unless `restart`. Orphans are recorded in
    `bulkhead.reference_violations` of the source's database; violations that a complete sweep no
    longer finds are closed. Where `on_delete` says so, rows whose target has a tombstone are
    settled: one may have been written while its target was being deleted.
    Raises ReferenceBroken, SweepSuperseded and what keeps either database from answering.
    """
    limits = limits or SweepLimits()
    began_s = monotonic_s()
    source = await open_source(router, topology, reference)
    target = await open_target(router, topology, source)
    progress = await _begin(source, restart=restart)
    first = progress.rows_checked
    complete = True
    pages = compare(source, target, after=progress.position, page_keys=limits.page_keys)
    async with aclosing(pages):
        async for page, missing in pages:
            await failpoints.reach(BEFORE_PAGE)
            progress = await _record_page(source, progress, page, missing)
            await failpoints.reach(AFTER_PAGE)
            done = progress.rows_checked - first
            if limits.rows_max is not None and done >= limits.rows_max:
                complete = False
                break
            await _pace(limits, began_s, done)
    if complete:
        await _complete(source, progress)
    return SweepReport(
        reference.name,
        progress.rows_checked,
        progress.rows_total,
        complete,
        progress.orphans,
        progress.tombstoned,
        progress.started_at,
        monotonic_s() - began_s,
    )


async def compare(
    source: Source, target: Target, *, after: str | None = None, page_keys: int = PAGE_KEYS
) -> AsyncGenerator[tuple[Page, Mapping[str, bool]], None]:
    """Yield each page with those of its keys that have no row, and whether they were deleted.

    While the target is asked about one page, the source already reads the next.
    """
    page = await source.read_page(after, page_keys)
    while page is not None:
        try:
            async with asyncio.TaskGroup() as group:
                following = group.create_task(source.read_page(page.last, page_keys))
                missing = group.create_task(target.find_missing(page, source.rows.column))
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None
        yield page, missing.result()
        page = following.result()


async def _begin(source: Source, *, restart: bool) -> Progress:
    name, path = source.rows.name, ",".join(column.name for column in source.path)
    if not restart:
        async with source.transaction() as tx:
            row = await tx.fetchrow(QUERIES.continue_sweep, name, path)
        if row is not None:
            return _progress(row)
    rows_total = await source.count_rows()
    async with source.transaction() as tx:
        row = await tx.fetchrow(QUERIES.start_sweep, name, path, rows_total)
    assert row is not None, "an upsert returns its row"
    return _progress(row)


async def _record_page(
    source: Source, progress: Progress, page: Page, missing: Mapping[str, bool]
) -> Progress:
    """Write what a page brought, together with how far the sweep has come."""
    orphaned = source.rows.orphaned(missing)
    deleted = list(missing.keys() - orphaned)
    tombstoned = await source.count_of(deleted, page)
    async with source.transaction() as tx:
        orphans = 0
        if missing:
            await tx.execute(f"set local statement_timeout = '{STATEMENT_S}s'")
        if deleted:
            await source.rows.settle(tx, deleted)
        if orphaned:
            orphans = await _record_violations(tx, source, page, orphaned)
        progress = replace(
            progress,
            position=page.last,
            rows_checked=progress.rows_checked + page.rows,
            orphans=progress.orphans + orphans,
            tombstoned=progress.tombstoned + tombstoned,
        )
        status = await tx.execute(
            QUERIES.advance_sweep,
            source.rows.name,
            progress.fence,
            progress.position,
            progress.rows_checked,
            progress.orphans,
            progress.tombstoned,
        )
        if status != "UPDATE 1":
            raise SweepSuperseded(reference=source.rows.name)
    return progress


async def _record_violations(tx: Transaction, source: Source, page: Page, keys: list[str]) -> int:
    within, positions = source.within(page, 3)
    count: int = await tx.fetchval(
        QUERIES.record_violations.format(**source.rows.names(), within=within),
        source.rows.name,
        keys,
        *positions,
    )
    return count


async def _complete(source: Source, progress: Progress) -> None:
    async with source.transaction() as tx:
        name = source.rows.name
        if await tx.execute(QUERIES.complete_sweep, name, progress.fence) != "UPDATE 1":
            raise SweepSuperseded(reference=name)
        await tx.execute(QUERIES.close_vanished, name, progress.started_at)


async def _pace(limits: SweepLimits, began_s: float, rows: int) -> None:
    if limits.rows_per_s is not None:
        await asyncio.sleep(max(0.0, began_s + rows / limits.rows_per_s - monotonic_s()))


def _progress(row: Record) -> Progress:
    return Progress(
        row["fence"],
        row["position"],
        row["rows_total"],
        row["rows_checked"],
        row["orphans"],
        row["tombstoned"],
        row["started_at"],
    )
