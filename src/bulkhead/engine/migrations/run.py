"""Run a plan: one transaction and one advisory lock per database, all of it or nothing.

The steps run as the owner of the database, never as the administrator who logged in, so that
whatever they create belongs to a role in which nobody can log in.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import asyncpg

from bulkhead.engine import failpoints
from bulkhead.engine.clock import monotonic_s
from bulkhead.engine.connections.sql import identifier
from bulkhead.engine.drivers.errors import CommitUnknown, is_connection_loss, translate
from bulkhead.engine.drivers.protocol import DatabaseSpec
from bulkhead.engine.errors import BulkheadError, Conflict
from bulkhead.engine.migrations.plan import Direction, Plan, Step
from bulkhead.engine.migrations.registry import (
    QUERIES,
    Applied,
    Connection,
    fetch_applied,
    forget,
    record,
)
from bulkhead.engine.migrations.statements import Statement

ADVISORY_KEY = 0x42554C4B4D494752
"""Advisory locks belong to one database, so that one key serves all of them."""
QUEUE_TIMEOUT_S = 120
"""How long a migration waits for another one of the same database."""
LOCK_TIMEOUT_S = 10
"""How long a statement waits for a table that others use."""
TELL_SCHEMA_CHANGE = "notify pgrst, 'reload schema'"
"""PostgREST's words to whoever keeps a copy of the schema; most servers have no trigger for it.
Told once when the transaction commits, however many steps it has."""

BEFORE_STATEMENT = failpoints.register("migrations.run:before_statement")
BEFORE_COMMIT = failpoints.register("migrations.run:before_commit")


class MigrationFailed(BulkheadError):
    """Migration {file} failed at line {line}, nothing was changed: {reason} ({sqlstate}).

    `statement` holds the first line of the statement that failed.
    """

    code = "migration_failed"
    hint = "{statement}"


class MigrationBusy(Conflict):
    """Another migration of database '{database}' has been running for {timeout_s} s."""

    code = "migration_busy"
    status = 503
    retry_after_s = 30
    hint = "Wait for it; pg_stat_activity shows who holds the advisory lock."


class TransactionEnded(BulkheadError):
    """Migration {file} ended the transaction that it is part of."""

    code = "transaction_ended"
    hint = "Remove what commits or rolls back, also in functions that it calls."


@dataclass(frozen=True, slots=True)
class StepDone:
    """A step that took effect."""

    namespace: str
    label: str
    direction: Direction
    duration_ms: int


@dataclass(frozen=True, slots=True)
class Run:
    """What was done to one database; no steps means there was nothing to do."""

    database: str
    plan_hash: str
    steps: tuple[StepDone, ...]


Planner = Callable[[Sequence[Applied]], Plan]


async def run_plan(
    connection: Connection,
    spec: DatabaseSpec,
    planner: Planner,
    *,
    expected_hash: str | None,
    lock_timeout_s: float,
) -> Run:
    """Plan under the lock and run the plan, in one transaction.

    Raises what `planner` raises, PlanStale, MigrationFailed, MigrationBusy, TransactionEnded; and
    ConnectionLost or CommitUnknown, after which it can simply be run again.
    """
    assert not connection.is_in_transaction(), "a migration needs a transaction of its own"
    committing = False
    try:
        async with connection.transaction():
            await _begin(connection, spec, lock_timeout_s)
            plan = planner(await fetch_applied(connection))
            plan.check_hash(expected_hash)
            done = [await _run_step(connection, spec, step, lock_timeout_s) for step in plan.steps]
            await failpoints.reach(BEFORE_COMMIT)
            committing = True
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
        if committing and is_connection_loss(error):
            raise CommitUnknown(database=spec.name) from error
        raise translate(error) from error
    return Run(spec.name, plan.hash, tuple(done))


async def set_scope(
    connection: Connection, spec: DatabaseSpec, lock_timeout_s: float = LOCK_TIMEOUT_S
) -> None:
    """Become the owner of the database until the transaction ends, with known settings."""
    await connection.execute(_scope(spec, lock_timeout_s))


def _scope(spec: DatabaseSpec, lock_timeout_s: float) -> str:
    return (
        f"set local role {identifier(spec.owner)};"
        "set local search_path = public, extensions;"
        f"set local lock_timeout = '{int(lock_timeout_s * 1000)}ms';"
        "set local statement_timeout = 0"
    )


async def _begin(connection: Connection, spec: DatabaseSpec, lock_timeout_s: float) -> None:
    """Take the lock, become the owner and have a registry, in one message."""
    lock = (
        f"set local lock_timeout = '{QUEUE_TIMEOUT_S}s';"
        "set local statement_timeout = 0;"
        f"select pg_catalog.pg_advisory_xact_lock({ADVISORY_KEY})"
    )
    scope = _scope(spec, lock_timeout_s)
    try:
        await connection.execute(f"{lock};{scope};{QUERIES.create_registry}")
    except asyncpg.LockNotAvailableError:
        raise MigrationBusy(database=spec.name, timeout_s=QUEUE_TIMEOUT_S) from None


async def _run_step(
    connection: Connection, spec: DatabaseSpec, step: Step, lock_timeout_s: float
) -> StepDone:
    migration = step.migration
    up = step.direction is Direction.UP
    started_s = monotonic_s()
    for statement in migration.up_statements if up else migration.down_statements:
        await _run_statement(connection, migration.file, statement)
    # What a migration set for itself, the next one must not inherit: it may run alone elsewhere.
    after = ["reset all", _scope(spec, lock_timeout_s), TELL_SCHEMA_CHANGE]
    await connection.execute(";".join(after))
    duration_ms = round((monotonic_s() - started_s) * 1000)
    if up:
        await record(connection, migration, duration_ms, mirrored=step.mirrored)
    else:
        await forget(connection, migration, mirrored=step.mirrored)
    return StepDone(migration.namespace, migration.label, step.direction, duration_ms)


async def _run_statement(connection: Connection, file: str, statement: Statement) -> None:
    await failpoints.reach(BEFORE_STATEMENT)
    try:
        await connection.execute(statement.text)
    except asyncpg.PostgresError as error:
        if is_connection_loss(error):
            raise
        raise _describe_failure(error, file, statement) from error
    if not connection.is_in_transaction():
        raise TransactionEnded(file=file)


def _describe_failure(
    error: asyncpg.PostgresError, file: str, statement: Statement
) -> MigrationFailed:
    position = int(error.position) if error.position else 1
    line = statement.line + statement.text.count("\n", 0, position - 1)
    reason = ". ".join(part.rstrip(".") for part in (error.message, error.hint) if part)
    return MigrationFailed(
        file=file,
        line=line,
        statement=statement.first_line,
        sqlstate=error.sqlstate,
        reason=reason,
    )
