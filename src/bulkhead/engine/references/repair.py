"""Repairs orphans: empties the column, deletes the rows, recreates the target, or lets them be.

Nothing is repaired by itself. A plan says what would be done and to how many rows; applying it
looks at every row again, in batches of which each stands for itself, so that it may be stopped and
repeated at any point.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from bulkhead.engine import failpoints
from bulkhead.engine.connections.queries import load_queries
from bulkhead.engine.errors import Conflict
from bulkhead.engine.references.source import Source, open_source
from bulkhead.engine.references.target import Target, open_target

if TYPE_CHECKING:
    from bulkhead.engine.connections.router import Router
    from bulkhead.engine.connections.transaction import Transaction
    from bulkhead.engine.topology import Reference, Topology

QUERIES = load_queries(__package__, "repair.sql")

BATCH_MAX = 1000
SAMPLE_MAX = 10

AFTER_BATCH = failpoints.register("references.repair:after_batch")
AFTER_RECREATE = failpoints.register("references.repair:after_recreate")


class RepairImpossible(Conflict):
    """The orphans of {reference} cannot be repaired like this: {reason}."""

    code = "repair_impossible"
    status = 422
    hint = "Choose another way: bulkhead reference sweep --repair null|delete|recreate|ignore."


class RepairAction(StrEnum):
    """What is done about an orphan."""

    SET_NULL = "null"
    """The referring column is emptied."""
    DELETE = "delete"
    """The referring row is deleted."""
    RECREATE = "recreate"
    """A placeholder takes the place of the row that is missing."""
    IGNORE = "ignore"
    """It stays, for a recorded reason, and is not reported any more."""


@dataclass(frozen=True, slots=True)
class Repair:
    """What to do about the orphans of a reference."""

    reference: Reference
    action: RepairAction
    reason: str | None = None
    """Why they are ignored."""
    placeholder: str | None = None
    """For RECREATE: a statement that makes rows in the target's database for the keys in
    `$1::text[]`, and does nothing for keys that have one (`on conflict do nothing`)."""

    def __post_init__(self) -> None:
        """Raises RepairImpossible when the action lacks what it needs."""
        if self.action is RepairAction.IGNORE and not self.reason:
            raise RepairImpossible(reference=self.reference.name, reason="a reason is needed")
        if self.action is RepairAction.RECREATE and not self.placeholder:
            raise RepairImpossible(
                reference=self.reference.name,
                reason=f"nothing recreates rows of '{self.reference.target.table}'",
            )


@dataclass(frozen=True, slots=True)
class Orphan:
    """A row that refers to nothing."""

    source_key: str
    target_key: str


@dataclass(frozen=True, slots=True)
class RepairPlan:
    """What a repair would do now."""

    repair: Repair
    rows: int
    """The recorded orphans that still are."""
    healed: int
    """Those that are orphans no longer, and will be left alone."""
    targets: int
    """How many missing rows they refer to."""
    statement: str
    """What would be run, once for every batch."""
    sample: tuple[Orphan, ...]


@dataclass(frozen=True, slots=True)
class RepairReport:
    """What a repair has done."""

    repair: Repair
    rows: int
    healed: int


async def plan_repair(router: Router, topology: Topology, repair: Repair) -> RepairPlan:
    """Say what `repair` would do, having looked at every recorded orphan again; writes nothing.

    Raises RepairImpossible, ReferenceBroken and what keeps either database from answering.
    """
    source, target = await _open(router, topology, repair)
    rows = healed = 0
    targets: set[str] = set()
    sample: list[Orphan] = []
    async for orphans, looked_at in _batches(source, target):
        rows += len(orphans)
        healed += looked_at - len(orphans)
        targets.update(orphan.target_key for orphan in orphans)
        sample += orphans[: SAMPLE_MAX - len(sample)]
    return RepairPlan(repair, rows, healed, len(targets), _statement(repair, source), tuple(sample))


async def apply_repair(router: Router, topology: Topology, repair: Repair) -> RepairReport:
    """Repair the recorded orphans that still are; each batch is one transaction.

    Restartable: what is repaired is closed in the same transaction, and not looked at again.
    Raises what `plan_repair` raises and what the database says against the change.
    """
    source, target = await _open(router, topology, repair)
    rows = healed = 0
    async for orphans, looked_at in _batches(source, target):
        if orphans and repair.placeholder is not None:
            await _recreate(target, repair.placeholder, orphans)
            await failpoints.reach(AFTER_RECREATE)
        if orphans:
            async with source.transaction() as tx:
                rows += await _repair_batch(tx, source, repair, orphans)
        healed += looked_at - len(orphans)
        await failpoints.reach(AFTER_BATCH)
    return RepairReport(repair, rows, healed)


async def _open(router: Router, topology: Topology, repair: Repair) -> tuple[Source, Target]:
    source = await open_source(router, topology, repair.reference)
    if repair.action is RepairAction.SET_NULL and source.rows.column.required:
        raise RepairImpossible(
            reference=repair.reference.name, reason=f"'{source.rows.column.name}' must not be empty"
        )
    return source, await open_target(router, topology, source)


async def _batches(
    source: Source, target: Target
) -> AsyncGenerator[tuple[list[Orphan], int], None]:
    """Yield the open violations that still are orphans, and how many were looked at."""
    last = Orphan("", "")
    while True:
        async with source.transaction(read_only=True) as tx:
            recorded = await tx.fetch(
                QUERIES.open_violations,
                source.rows.name,
                last.target_key,
                last.source_key,
                BATCH_MAX,
            )
            if not recorded:
                return
            last = Orphan(recorded[-1]["source_key"], recorded[-1]["target_key"])
            held = await _read_held(
                tx, source, [Orphan(row["source_key"], row["target_key"]) for row in recorded]
            )
        keys = sorted({orphan.target_key for orphan in held})
        async with target.transaction(read_only=True) as tx:
            missing = await target.look_up(tx, keys)
        orphaned = set(source.rows.orphaned(missing))
        yield [orphan for orphan in held if orphan.target_key in orphaned], len(recorded)


async def _read_held(tx: Transaction, source: Source, orphans: Sequence[Orphan]) -> list[Orphan]:
    rows = await tx.fetch(
        QUERIES.held_rows.format(**source.rows.names()),
        [orphan.source_key for orphan in orphans],
        [orphan.target_key for orphan in orphans],
    )
    return [Orphan(row["source_key"], row["target_key"]) for row in rows]


async def _recreate(target: Target, placeholder: str, orphans: Sequence[Orphan]) -> None:
    keys = sorted({orphan.target_key for orphan in orphans})
    async with target.transaction() as tx:
        await tx.execute(placeholder, keys)
        if missing := await target.look_up(tx, keys):
            raise RepairImpossible(
                reference=target.name, reason=f"no row was made for {next(iter(missing))}"
            )


async def _repair_batch(
    tx: Transaction, source: Source, repair: Repair, orphans: Sequence[Orphan]
) -> int:
    source_keys = [orphan.source_key for orphan in orphans]
    target_keys = [orphan.target_key for orphan in orphans]
    name = repair.reference.name
    if repair.action is RepairAction.IGNORE:
        status = await tx.execute(
            QUERIES.ignore_violations, source_keys, target_keys, name, repair.reason
        )
        return int(status.rsplit(" ", 1)[1])
    resolution = _RESOLUTIONS[repair.action]
    if repair.action is not RepairAction.RECREATE:
        changed = await tx.fetch(_statement(repair, source), source_keys, target_keys)
        source_keys = [row["source_key"] for row in changed]
        target_keys = [row["target_key"] for row in changed]
    await tx.execute(QUERIES.close_violations, source_keys, target_keys, name, resolution)
    return len(source_keys)


_RESOLUTIONS = {
    RepairAction.SET_NULL: "set_null",
    RepairAction.DELETE: "deleted",
    RepairAction.RECREATE: "recreated",
}


def _statement(repair: Repair, source: Source) -> str:
    match repair.action:
        case RepairAction.SET_NULL:
            statement: str = QUERIES.empty_column
        case RepairAction.DELETE:
            statement = QUERIES.delete_rows
        case RepairAction.RECREATE:
            return repair.placeholder or ""
        case RepairAction.IGNORE:
            return QUERIES.ignore_violations  # type: ignore[no-any-return]
    return statement.format(**source.rows.names())
