"""Deletes travel as tombstones, and a restricted delete looks for references first.

A trigger leaves the tombstone in the transaction of the delete (`bulkhead.leave_tombstone`). What
must not be deleted while it is referred to is fenced first: from then on the check on write counts
it as missing. When every check made before the fence has been used or forgotten, the referring
databases are asked, and the row is deleted or the fence lifted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from bulkhead.engine import failpoints
from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.connections.queries import load_queries
from bulkhead.engine.connections.sql import identifier
from bulkhead.engine.errors import Conflict
from bulkhead.engine.references.columns import read_table
from bulkhead.engine.references.source import open_source
from bulkhead.engine.topology import Column, OnDelete, Reference, Topology

if TYPE_CHECKING:
    from bulkhead.engine.connections.router import Router
    from bulkhead.engine.connections.transaction import Transaction

QUERIES = load_queries(__package__, "tombstone.sql")

GRACE_S = 10.0
"""How long after a check the reference may still be written; outlasts the checker's memory."""

AFTER_FENCE = failpoints.register("references.delete:after_fence")
BEFORE_DELETE = failpoints.register("references.delete:before_delete")

DeleteRows = Callable[["Transaction"], Awaitable[object]]


class ReferenceInUse(Conflict):
    """{count} rows of {source} refer to what would be deleted from {target}."""

    code = "reference_in_use"
    hint = "Delete or change those rows first; nothing was deleted."


async def delete_target(
    router: Router,
    topology: Topology,
    target: Column,
    keys: Iterable[object],
    *,
    delete: DeleteRows | None = None,
    grace_s: float = GRACE_S,
) -> int:
    """Delete the rows of `target` with these keys, unless a RESTRICT reference leads to them.

    Returns how many tombstones were left. `delete` does the deleting where it is more than
    `delete from <table>`; it runs in the transaction that leaves the tombstones. Restartable: a
    call that was interrupted is simply repeated, and waits only for what is left of the grace.
    Raises ReferenceInUse when there are referring rows, and what keeps a referring database from
    answering; the fences are lifted then. A reference that took longer than `grace_s` from its
    check to its commit slips through and is found by the next sweep.
    """
    names = [str(key) for key in keys]
    restricting = restricting_references(topology, target)
    if restricting:
        waited_s = await place_fences(router, target, names)
        await failpoints.reach(AFTER_FENCE)
        await asyncio.sleep(max(0.0, grace_s - waited_s))
        try:
            for reference in restricting:
                await _verify_unused(router, topology, reference, names)
        except Exception:
            await lift_fences(router, target, names)
            raise
    await failpoints.reach(BEFORE_DELETE)
    async with router.database(target.database).transaction(SERVICE) as tx:
        before = await _count_tombstones(tx, target, names)
        if delete is None:
            table = await read_table(tx, topology, target)
            statement = QUERIES.delete_keys.format(
                table=table.name, column=identifier(target.column), type=table.column.type
            )
            await tx.execute(statement, names)
        else:
            await delete(tx)
        await bury(tx, target.table, names)
        return await _count_tombstones(tx, target, names) - before


def restricting_references(topology: Topology, target: Column) -> tuple[Reference, ...]:
    """The references that keep a row of `target` from being deleted."""
    return tuple(
        reference
        for reference in topology.references_to(target.database)
        if reference.target == target and reference.on_delete is OnDelete.RESTRICT
    )


async def bury(tx: Transaction, table: str, keys: Sequence[str]) -> int:
    """Leave tombstones for rows of `table`, of the database of `tx`; returns how many are new.

    The trigger does this for rows that are deleted. It is called for a row that stays but shall
    not be referred to any more, such as the remains of an anonymised user.
    """
    count: int = await tx.fetchval(QUERIES.bury, table, list(keys))
    return count


async def place_fences(router: Router, target: Column, keys: Sequence[str]) -> float:
    """Refuse new references to `keys`; returns for how many seconds all of them have stood."""
    async with router.database(target.database).transaction(SERVICE) as tx:
        await tx.execute(QUERIES.place_fences, target.table, list(keys))
        waited_s: float | None = await tx.fetchval(QUERIES.age_of_fences, target.table, list(keys))
    return waited_s or 0.0


async def lift_fences(router: Router, target: Column, keys: Sequence[str]) -> None:
    """Allow references to `keys` again."""
    async with router.database(target.database).transaction(SERVICE) as tx:
        await tx.execute(QUERIES.lift_fences, target.table, list(keys))


async def _verify_unused(
    router: Router, topology: Topology, reference: Reference, keys: Sequence[str]
) -> None:
    source = await open_source(router, topology, reference)
    async with source.transaction(read_only=True) as tx:
        count: int = await tx.fetchval(source.rows.counting(), list(keys))
    if count:
        raise ReferenceInUse(
            count=count, source=str(reference.source), target=str(reference.target)
        )


async def _count_tombstones(tx: Transaction, target: Column, keys: Sequence[str]) -> int:
    count: int = await tx.fetchval(QUERIES.count_tombstones, target.table, list(keys))
    return count
