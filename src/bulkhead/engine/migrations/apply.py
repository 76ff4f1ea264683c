"""Bring a database up to its files."""

from collections.abc import Mapping, Sequence

from bulkhead.engine.drivers.protocol import DatabaseSpec
from bulkhead.engine.migrations.files import MigrationSet
from bulkhead.engine.migrations.plan import plan_apply
from bulkhead.engine.migrations.registry import Connection
from bulkhead.engine.migrations.run import LOCK_TIMEOUT_S, Run, run_plan


async def apply(
    connection: Connection,
    spec: DatabaseSpec,
    sets: Sequence[MigrationSet],
    *,
    target: Mapping[str, int] | None = None,
    expected_hash: str | None = None,
    lock_timeout_s: float = LOCK_TIMEOUT_S,
) -> Run:
    """Apply what is missing of `sets`, in their order, in one transaction; safe to repeat.

    `connection` is an administrator's, outside of any transaction. Of two at the same time the
    second waits and then finds nothing to do. Raises MigrationFailed with file, line and
    SQLSTATE, and everything that `plan_apply` raises; whatever it raises, nothing was changed.
    """
    return await run_plan(
        connection,
        spec,
        lambda applied: plan_apply(spec.name, sets, applied, target),
        expected_hash=expected_hash,
        lock_timeout_s=lock_timeout_s,
    )
