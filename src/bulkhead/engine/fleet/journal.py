"""Migrations of databases whose server commits each change of the schema by itself.

A journal in the database says of each statement that it is about to run, and what the catalogue
was before, and then that it is done. Whoever comes after a crash between the two compares: when
the catalogue is what it was, the statement did not take effect and runs again; when it is another,
it did. Statements that change rows are one transaction with their note. So a migration that was
killed anywhere goes on where it stopped.

Databases that PostgreSQL's owners run have the same record of migrations, in one transaction.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from bulkhead.engine import failpoints
from bulkhead.engine.clock import monotonic_s, now
from bulkhead.engine.connections.queries import load_queries
from bulkhead.engine.drivers.errors import SqlError, is_connection_loss
from bulkhead.engine.drivers.protocol import Dialect
from bulkhead.engine.errors import BulkheadError, Conflict
from bulkhead.engine.fleet.connection import TenantConnection
from bulkhead.engine.fleet.mysql_catalogue import hash_catalogue
from bulkhead.engine.migrations.files import Migration
from bulkhead.engine.migrations.mysql_statements import CHANGES_ROWS
from bulkhead.engine.migrations.plan import Direction, Plan, Step
from bulkhead.engine.migrations.registry import Applied
from bulkhead.engine.migrations.run import ADVISORY_KEY, MigrationBusy, StepDone
from bulkhead.engine.migrations.statements import Statement

QUERIES: Final = load_queries(__package__, "journal.sql")
LOCK_S: Final = 10
BEGUN, DONE = "begun", "done"
NO_TIMEOUT: Final = "set local statement_timeout = 0"

BEFORE_NOTE: Final = failpoints.register("fleet.journal:before_note")
BEFORE_STATEMENT: Final = failpoints.register("fleet.journal:before_statement")
AFTER_STATEMENT: Final = failpoints.register("fleet.journal:after_statement")
BEFORE_RECORD: Final = failpoints.register("fleet.journal:before_record")
RECORDED: Final = failpoints.register("fleet.journal:recorded")

Planner = Callable[[Sequence[Applied]], Plan]


class StatementFailed(BulkheadError):
    """Migration {file} failed at line {line}; what stands before it is done: {reason}."""

    code = "migration_statement_failed"
    hint = "Remove the cause and migrate again: it goes on with that statement."


class MigrationHalfDone(Conflict):
    """Migration {migration} is half done in the other direction."""

    code = "migration_half_done"
    hint = "Finish it first: migrate in the direction in which it was begun."


class StatementChanged(Conflict):
    """Migration {file} was changed after it was begun, line {line}."""

    code = "migration_statement_changed"
    hint = "Restore the file as it was; what is new belongs into a migration of its own."


def _tables(schema: str | None) -> tuple[sa.TableClause, sa.TableClause]:
    names = ("namespace", "version", "name", "checksum", "up_sql", "down_sql")
    columns = [sa.column(name, sa.Integer if name == "version" else sa.String) for name in names]
    columns += [sa.column("applied_at", sa.DateTime), sa.column("duration_ms", sa.Integer)]
    return (
        sa.table("_migrations", *columns, schema=schema),
        sa.table(
            "_migration_statements",
            sa.column("namespace", sa.String),
            sa.column("version", sa.Integer),
            sa.column("direction", sa.String),
            sa.column("ordinal", sa.Integer),
            sa.column("checksum", sa.String),
            sa.column("state", sa.String),
            sa.column("before_hash", sa.String),
            schema=schema,
        ),
    )


_OF: Final = {Dialect.POSTGRESQL: _tables("public"), Dialect.MYSQL: _tables(None)}


@dataclass(frozen=True, slots=True)
class _Noted:
    checksum: str
    state: str
    before_hash: str


@dataclass(slots=True)
class Journal:
    """The record of migrations in one database, through a connection that may change its schema."""

    connection: TenantConnection
    database: str

    async def run(self, planner: Planner, baseline: Sequence[Migration]) -> tuple[StepDone, ...]:
        """Plan from what the database has had, and run the plan.

        A database without a record has had `baseline`. Raises what `planner` raises,
        StatementFailed, StatementChanged, MigrationHalfDone, MigrationBusy.
        """
        if self.connection.dialect is Dialect.POSTGRESQL:
            async with self.connection.transaction():
                await self._prepare()
                return await self._run_all(planner, baseline)
        await self._prepare()
        return await self._run_all(planner, baseline)

    async def note_all(self, migrations: Sequence[Migration]) -> None:
        """Note all of them as had, for a database whose schema is what they lead to."""
        if self.connection.dialect is Dialect.MYSQL:
            await self._prepare()
        async with self.connection.transaction():
            if self.connection.dialect is Dialect.POSTGRESQL:
                await self._prepare()
            had = {(each.namespace, each.version) for each in await self.list_applied()}
            for migration in migrations:
                if (migration.namespace, migration.version) not in had:
                    await self._execute_core(self._record(migration, 0))

    async def list_applied(self) -> tuple[Applied, ...]:
        """What the database has had."""
        migrations, _ = _OF[self.connection.dialect]
        rows = await self.connection.fetch(
            sa.select(*migrations.c).order_by(migrations.c.namespace, migrations.c.version)
        )
        return tuple(Applied(**dict(row), applied_by="") for row in rows)

    async def _prepare(self) -> None:
        """Be alone, and have the tables; on PostgreSQL until the transaction ends."""
        if self.connection.dialect is Dialect.POSTGRESQL:
            statements: Sequence[str] = (
                NO_TIMEOUT,
                f"select pg_catalog.pg_advisory_xact_lock({ADVISORY_KEY})",
                QUERIES.make_migrations_postgresql,
                QUERIES.secure_postgresql,
            )
        else:
            await self._take_lock()
            statements = (QUERIES.make_migrations_mysql, QUERIES.make_statements_mysql)
        for statement in statements:
            await self._execute(statement)

    async def _run_all(
        self, planner: Planner, baseline: Sequence[Migration]
    ) -> tuple[StepDone, ...]:
        applied = await self.list_applied()
        if not applied and baseline:
            for migration in baseline:
                await self._execute_core(self._record(migration, 0))
            applied = await self.list_applied()
        steps = planner(applied).steps
        await self._verify_direction(steps)
        return tuple([await self._run_step(step) for step in steps])

    async def _verify_direction(self, steps: Sequence[Step]) -> None:
        if self.connection.dialect is Dialect.POSTGRESQL or not steps:
            return
        _, statements = _OF[Dialect.MYSQL]
        rows = await self.connection.fetch(
            sa.select(statements.c.namespace, statements.c.version, statements.c.direction)
        )
        for row in rows:
            if row["direction"] != steps[0].direction.value:
                name = f"{row['namespace']}/{row['version']:04}"
                raise MigrationHalfDone(migration=name)

    async def _run_step(self, step: Step) -> StepDone:
        migration, is_up = step.migration, step.direction is Direction.UP
        statements = migration.up_statements if is_up else migration.down_statements
        began_s = monotonic_s()
        if self.connection.dialect is Dialect.POSTGRESQL:
            for statement in statements:
                await self._send(migration, statement)
            # It goes back to what the session began with, which may have a time-out.
            await self._execute("reset all")
            await self._execute(NO_TIMEOUT)
        else:
            await self._run_journaled(step, statements)
        duration_ms = round((monotonic_s() - began_s) * 1000)
        await failpoints.reach(BEFORE_RECORD)
        if self.connection.dialect is Dialect.POSTGRESQL:
            await self._note_step(step, duration_ms)
        else:
            async with self.connection.transaction():
                await self._note_step(step, duration_ms)
        await failpoints.reach(RECORDED)
        return StepDone(migration.namespace, migration.label, step.direction, duration_ms)

    async def _run_journaled(self, step: Step, statements: Sequence[Statement]) -> None:
        noted = await self._list_noted(step)
        catalogue = await self._hash()
        for ordinal, statement in enumerate(statements):
            known = noted.get(ordinal)
            if known is not None and known.checksum != _checksum(statement):
                raise StatementChanged(file=step.migration.file, line=statement.line)
            if known is not None and known.state == DONE:
                continue
            if statement.words[:1] and statement.words[0] in CHANGES_ROWS:
                await self._change_rows(step, ordinal, statement)
                continue
            if known is not None and known.before_hash != catalogue:
                await self._finish(step, ordinal)
                continue
            if known is None:
                await self._begin(step, ordinal, statement, catalogue)
            await failpoints.reach(BEFORE_STATEMENT)
            await self._send(step.migration, statement)
            await failpoints.reach(AFTER_STATEMENT)
            await self._finish(step, ordinal)
            catalogue = await self._hash()

    async def _change_rows(self, step: Step, ordinal: int, statement: Statement) -> None:
        """Rows and the note of them, both or neither."""
        async with self.connection.transaction():
            await self._begin(step, ordinal, statement, "")
            await failpoints.reach(BEFORE_STATEMENT)
            await self._send(step.migration, statement)
            await failpoints.reach(AFTER_STATEMENT)
            await self._finish(step, ordinal)

    async def _begin(
        self, step: Step, ordinal: int, statement: Statement, before_hash: str
    ) -> None:
        await failpoints.reach(BEFORE_NOTE)
        _, statements = _OF[Dialect.MYSQL]
        values = {
            "namespace": step.migration.namespace,
            "version": step.migration.version,
            "direction": step.direction.value,
            "ordinal": ordinal,
            "checksum": _checksum(statement),
            "state": BEGUN,
            "before_hash": before_hash,
        }
        await self._execute_core(statements.insert().values(values))

    async def _finish(self, step: Step, ordinal: int) -> None:
        _, statements = _OF[Dialect.MYSQL]
        chosen = sa.and_(self._of_step(step), statements.c.ordinal == ordinal)
        await self._execute_core(statements.update().where(chosen).values(state=DONE))

    async def _note_step(self, step: Step, duration_ms: int) -> None:
        migrations, statements = _OF[self.connection.dialect]
        migration = step.migration
        if step.direction is Direction.UP:
            await self._execute_core(self._record(migration, duration_ms))
        else:
            await self._execute_core(
                migrations.delete().where(
                    migrations.c.namespace == migration.namespace,
                    migrations.c.version == migration.version,
                )
            )
        if self.connection.dialect is Dialect.MYSQL:
            await self._execute_core(statements.delete().where(self._of_step(step)))

    async def _list_noted(self, step: Step) -> dict[int, _Noted]:
        _, statements = _OF[Dialect.MYSQL]
        rows = await self.connection.fetch(sa.select(*statements.c).where(self._of_step(step)))
        return {
            row["ordinal"]: _Noted(row["checksum"], row["state"], row["before_hash"])
            for row in rows
        }

    def _record(self, migration: Migration, duration_ms: int) -> sa.Insert:
        migrations, _ = _OF[self.connection.dialect]
        return migrations.insert().values(
            namespace=migration.namespace,
            version=migration.version,
            name=migration.name,
            checksum=migration.checksum,
            up_sql=migration.up,
            down_sql=migration.down,
            applied_at=now().replace(tzinfo=None),
            duration_ms=duration_ms,
        )

    def _of_step(self, step: Step) -> sa.ColumnElement[bool]:
        _, statements = _OF[Dialect.MYSQL]
        return sa.and_(
            statements.c.namespace == step.migration.namespace,
            statements.c.version == step.migration.version,
            statements.c.direction == step.direction.value,
        )

    async def _send(self, migration: Migration, statement: Statement) -> None:
        text = statement.text
        if self.connection.dialect is Dialect.MYSQL:
            text = text.replace("%", "%%")
        try:
            await self._execute(text)
        except SqlError as error:
            if is_connection_loss(error):
                raise
            raise StatementFailed(
                file=migration.file, line=statement.line, reason=_reason(error)
            ) from error

    async def _hash(self) -> str:
        return await hash_catalogue(self.connection.raw, timeout_s=self.connection.timeout_s)

    async def _take_lock(self) -> None:
        name = "bulkhead:migrate:" + hashlib.sha256(self.database.encode()).hexdigest()[:40]
        if await self.connection.fetch_value(QUERIES.lock_mysql, [name, LOCK_S]) != 1:
            raise MigrationBusy(database=self.database, timeout_s=LOCK_S)

    async def _execute(self, sql: str) -> None:
        await self.connection.raw.execute(sql, (), timeout_s=self.connection.timeout_s)

    async def _execute_core(self, statement: Any) -> None:  # noqa: ANN401
        await self.connection.execute(statement)


def _reason(error: SqlError) -> str:
    """What the server said: whoever migrates has to know."""
    cause = error.__cause__
    return str(cause.args[-1]) if cause is not None and cause.args else error.message


def _checksum(statement: Statement) -> str:
    return hashlib.sha256(statement.text.encode()).hexdigest()
