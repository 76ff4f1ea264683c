"""Make the tables of a schema that a database lacks, and take back what was made.

On PostgreSQL everything is one transaction. On MySQL each statement commits by itself: what is
about to be made is noted first, so that whoever comes after a crash knows what is the job's own.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa

from bulkhead.engine import failpoints
from bulkhead.engine.drivers.errors import PermissionDenied
from bulkhead.engine.drivers.protocol import Dialect
from bulkhead.engine.errors import Forbidden
from bulkhead.engine.extract.compare import Difference, Missing, RowsWithoutValue, compare
from bulkhead.engine.extract.ddl import qualified
from bulkhead.engine.extract.introspect import introspect
from bulkhead.engine.extract.model import Catalogue, Extracted, Key, Kind
from bulkhead.engine.extract.names import quote
from bulkhead.engine.fleet.connection import TenantConnection
from bulkhead.engine.provisioning.job import ProvisioningJob
from bulkhead.engine.provisioning.mark import (
    DROP,
    MAKE,
    QUERIES,
    SCOPE,
    drop_unused,
    find_mark,
    list_parts,
    note_parts,
    take_mark,
    verify_mark,
)

AFTER_STATEMENT: Final = failpoints.register("provisioning.tables:after_statement")
BEFORE_COMMIT: Final = failpoints.register("provisioning.tables:before_commit")
AFTER_DROP: Final = failpoints.register("provisioning.tables:after_drop")

_UNDO: Final = {
    Kind.GRANT: ("", ""),
    Kind.POLICY: ("", ""),
    Kind.FOREIGN_KEY: ("constraint", "foreign key"),
    Kind.INDEX: ("", "index"),
    Kind.CHECK: ("constraint", "constraint"),
    Kind.PRIMARY_KEY: ("", ""),
    Kind.COLUMN: ("column", "column"),
}
"""In the order of undoing: the word after DROP on PostgreSQL, and on MySQL."""

Tell = Callable[[int], Awaitable[None]]
"""Is told how many of the schema's tables are there."""


class RightsMissing(Forbidden):
    """The user of database '{database}' may not {what} there."""

    code = "rights_missing"
    status = 422
    hint = "Let the user own the database, or grant it everything on it, and start again."


@dataclass(frozen=True, slots=True)
class Building:
    """The tables of one database, being made by one job."""

    job: ProvisioningJob
    database: str
    schema: Extracted

    async def mark(self, connection: TenantConnection) -> None:
        """Mark the database for the job; raises DatabaseOfAnother, RightsMissing, JobLost."""
        try:
            if connection.dialect is Dialect.POSTGRESQL:
                async with connection.transaction():
                    await connection.execute(SCOPE)
                    await self._make_mark(connection)
                    await take_mark(connection, self.job, self.database)
                return
            await self._make_mark(connection)
            async with connection.transaction():
                await take_mark(connection, self.job, self.database)
        except PermissionDenied as error:
            raise RightsMissing(database=self.database, what="create tables") from error

    async def look(self, connection: TenantConnection) -> tuple[Difference, Catalogue]:
        """What the database has, and how that differs from the schema."""
        existing = await introspect(connection.raw, timeout_s=connection.timeout_s)
        return compare(self.schema, existing), existing

    async def make(self, connection: TenantConnection, tell: Tell) -> None:
        """Make what is missing; raises SchemaDiffers, RowsWithoutValue, RightsMissing, JobLost."""
        difference, existing = await self.look(connection)
        difference.verify_compatible()
        there = len(set(existing.tables) & set(self.schema.catalogue.tables))
        await tell(there)
        if not difference.missing:
            return
        parts = [part_of(each.object.key) for each in difference.missing]
        try:
            if connection.dialect is Dialect.POSTGRESQL:
                await self._make_at_once(connection, difference.missing, parts)
            else:
                await self._make_one_by_one(connection, difference.missing, there, tell)
        except PermissionDenied as error:
            raise RightsMissing(database=self.database, what="create tables") from error
        await tell(len(self.schema.catalogue.tables))

    async def _make_at_once(
        self, connection: TenantConnection, missing: Sequence[Missing], parts: Sequence[str]
    ) -> None:
        async with connection.transaction():
            await connection.execute(SCOPE)
            await connection.execute(QUERIES.patience_postgresql)
            await verify_mark(connection, self.job)
            await note_parts(connection, self.job, parts)
            await _run_all(connection, missing)
            await failpoints.reach(BEFORE_COMMIT)

    async def _make_one_by_one(
        self, connection: TenantConnection, missing: Sequence[Missing], there: int, tell: Tell
    ) -> None:
        made = {each.object.key.table for each in missing if each.object.key.kind is Kind.TABLE}
        for each in missing:
            key = each.object.key
            async with connection.transaction():
                await verify_mark(connection, self.job)
                if key.kind is Kind.TABLE or key.table not in made:
                    await note_parts(connection, self.job, [part_of(key)])
            await _run_all(connection, [each])
            if key.kind is Kind.TABLE:
                there += 1
                await tell(there)

    async def take_back(self, connection: TenantConnection) -> None:
        """Undo what jobs of the tenant have made, the mark at last; what they found stays.

        Nothing happens in a database that this job has not marked.
        """
        mark = await find_mark(connection)
        if mark is None and connection.dialect is Dialect.MYSQL:
            await drop_unused(connection)
        if mark is None or mark.job != self.job.id or mark.fence > self.job.fence:
            return
        existing = await introspect(connection.raw, timeout_s=connection.timeout_s)
        if connection.dialect is Dialect.POSTGRESQL:
            async with connection.transaction():
                await connection.execute(SCOPE)
                await connection.execute(QUERIES.patience_postgresql)
                await take_mark(connection, self.job, self.database)
                parts = await list_parts(connection, self.job)
                for statement in undo_statements(parts, existing, self.schema):
                    await connection.execute(statement)
                    await failpoints.reach(AFTER_DROP)
                await connection.execute(DROP[connection.dialect])
            return
        async with connection.transaction():
            await take_mark(connection, self.job, self.database)
        parts = await list_parts(connection, self.job)
        await connection.execute("set foreign_key_checks = 0")
        for statement in undo_statements(parts, existing, self.schema):
            await connection.execute(statement.replace("%", "%%"))
            await failpoints.reach(AFTER_DROP)
        await connection.execute(DROP[connection.dialect])

    async def _make_mark(self, connection: TenantConnection) -> None:
        if await find_mark(connection) is None:
            await _make_mark_table(connection)


async def make_all(connection: TenantConnection, schema: Extracted) -> None:
    """Make everything in a database that no tenant has yet, the table of marks too."""
    existing = await introspect(connection.raw, timeout_s=connection.timeout_s)
    difference = compare(schema, existing)
    difference.verify_compatible()
    if connection.dialect is Dialect.MYSQL:
        await _make_mark_table(connection)
        await _run_all(connection, difference.missing)
        return
    async with connection.transaction():
        await connection.execute(SCOPE)
        await _make_mark_table(connection)
        await _run_all(connection, difference.missing)


def part_of(key: Key) -> str:
    """How an object is noted: its kind, table and name, each with its length."""
    return "".join(f"{len(text)}:{text}" for text in (key.kind.value, key.table, key.name))


def undo_statements(parts: frozenset[str], existing: Catalogue, schema: Extracted) -> list[str]:
    """What drops those of `parts` that are there: single objects, then whole tables at once."""
    dialect = existing.dialect
    noted = [key for key in existing.objects if part_of(key) in parts]
    tables = [key.table for key in noted if key.kind is Kind.TABLE]
    single = [key for key in noted if key.table not in tables and key.kind in _UNDO]
    statements = [_undo(key, dialect, schema) for key in sorted(single, key=_undo_order)]
    if tables:
        names = ", ".join(qualified(table, dialect) for table in tables)
        statements.append(f"drop table {names}")
    return statements


def _undo_order(key: Key) -> int:
    """References come before the indexes that they need, columns at last."""
    return list(_UNDO).index(key.kind)


def _undo(key: Key, dialect: Dialect, schema: Extracted) -> str:
    """What drops one object of a table that was there before."""
    table = qualified(key.table, dialect)
    if key.kind is Kind.GRANT:
        privilege, _, role = key.name.partition(" to ")
        return f"revoke {privilege} on {table} from {quote(role, dialect)}"
    name = quote(key.name, dialect) if key.name else ""
    if key.kind is Kind.POLICY:
        return f"drop policy {name} on {table}"
    alter = f"alter table {table} drop"
    if key.kind is Kind.PRIMARY_KEY:
        return f"{alter} {_primary_key(key.table, dialect, schema)}"
    if key.kind is Kind.INDEX and dialect is Dialect.POSTGRESQL:
        is_constraint = key.name in schema.table(key.table).unique_constraints
        return f"{alter} constraint {name}" if is_constraint else f"drop index public.{name}"
    return f"{alter} {_UNDO[key.kind][dialect is Dialect.MYSQL]} {name}"


def _primary_key(table: str, dialect: Dialect, schema: Extracted) -> str:
    if dialect is Dialect.MYSQL:
        return "primary key"
    added = schema.additions[Key(Kind.PRIMARY_KEY, table, "")][0]
    return added[added.index(" add constraint ") + len(" add ") : added.index(" primary key (")]


async def _make_mark_table(connection: TenantConnection) -> None:
    for statement in MAKE[connection.dialect]:
        await connection.execute(statement)
        await failpoints.reach(AFTER_STATEMENT)


async def _run_all(connection: TenantConnection, missing: Sequence[Missing]) -> None:
    is_mysql = connection.dialect is Dialect.MYSQL
    for each in missing:
        await _verify_room(connection, each)
        for statement in each.statements:
            # A per cent would begin a placeholder there.
            await connection.execute(statement.replace("%", "%%") if is_mysql else statement)
            await failpoints.reach(AFTER_STATEMENT)


async def _verify_room(connection: TenantConnection, each: Missing) -> None:
    """Rows that are there would have no value for the column."""
    key = each.object.key
    if each.needs_empty_table:
        is_mysql = connection.dialect is Dialect.MYSQL
        table = sa.table(key.table, schema=None if is_mysql else "public")
        if await connection.fetch(
            sa.select(sa.literal(1).label("one")).select_from(table).limit(1)
        ):
            raise RowsWithoutValue(table=key.table, column=key.name)
