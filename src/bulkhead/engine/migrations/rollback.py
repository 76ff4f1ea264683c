"""Take migrations back, newest first."""

from collections.abc import Mapping, Sequence

from bulkhead.engine.drivers.protocol import DatabaseSpec
from bulkhead.engine.migrations.files import MigrationSet
from bulkhead.engine.migrations.plan import plan_rollback
from bulkhead.engine.migrations.registry import Connection
from bulkhead.engine.migrations.run import LOCK_TIMEOUT_S, Run, run_plan


async def roll_back(
    connection: Connection,
    spec: DatabaseSpec,
    sets: Sequence[MigrationSet],
    target: Mapping[str, int],
    *,
    expected_hash: str | None = None,
    lock_timeout_s: float = LOCK_TIMEOUT_S,
) -> Run:
    """Go down to `target`, for example `{"commerce": 6}`, in one transaction; safe to repeat.

    The text in the registry is what is undone, so that also a migration goes back that this
    program does not have. Data in dropped columns and tables is gone. Raises as `apply` does.
    """
    return await run_plan(
        connection,
        spec,
        lambda applied: plan_rollback(spec.name, sets, applied, target),
        expected_hash=expected_hash,
        lock_timeout_s=lock_timeout_s,
    )
