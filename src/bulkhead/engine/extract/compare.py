"""What distinguishes a database from the schema it shall have, and what would make it equal.

What is missing can be made. What differs is reported and never touched: whoever changed it may rely
on it, and rows may not fit. What nobody asked for is listed and left alone.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from bulkhead.engine.drivers.protocol import Dialect, ServerConnection
from bulkhead.engine.errors import Conflict
from bulkhead.engine.extract import ddl
from bulkhead.engine.extract.introspect import TIMEOUT_S, introspect
from bulkhead.engine.extract.model import Catalogue, Extracted, Key, Kind, SchemaObject
from bulkhead.engine.extract.names import sendable

_WITH_TABLE = frozenset({Kind.COLUMN, Kind.PRIMARY_KEY, Kind.CHECK})
_ORDER = (
    Kind.TABLE,
    Kind.COLUMN,
    Kind.PRIMARY_KEY,
    Kind.CHECK,
    Kind.INDEX,
    Kind.FOREIGN_KEY,
    Kind.ROW_SECURITY,
    Kind.POLICY,
    Kind.GRANT,
)


class SchemaDiffers(Conflict):
    """The database has what the schema has, but differently: {differing}."""

    code = "schema_differs"
    hint = "Change the database so that it agrees, or give the tables other names, and try again."


class RowsWithoutValue(Conflict):
    """Table '{table}' has rows, and column '{column}' cannot be added without a value for them."""

    code = "rows_without_value"
    hint = "Add the column with a default, fill it, and try again."


@dataclass(frozen=True, slots=True)
class Missing:
    """An object that is not there, and what makes it."""

    object: SchemaObject
    statements: tuple[str, ...]
    needs_empty_table: bool = False
    """Whether rows that are there would have no value for it; MySQL would make one up."""


@dataclass(frozen=True, slots=True)
class Differing:
    """An object that is there, but not as it is required."""

    required: SchemaObject
    existing: SchemaObject

    @property
    def facets(self) -> tuple[str, ...]:
        """In what they differ: `type`, `nullable`, ..."""
        names = [*self.required.facets, *self.existing.facets]
        return tuple(
            name
            for name in dict.fromkeys(names)
            if self.required.facets.get(name, "") != self.existing.facets.get(name, "")
        )

    def __str__(self) -> str:
        return "; ".join(
            f"{name} of {self.required.key} is '{self.existing.facets.get(name, '')}', "
            f"required is '{self.required.facets.get(name, '')}'"
            for name in self.facets
        )


@dataclass(frozen=True, slots=True)
class Difference:
    """Everything that `compare` found."""

    missing: tuple[Missing, ...]
    """In an order in which it can be made."""
    differing: tuple[Differing, ...]
    extra: tuple[Key, ...]
    """What is there besides; of a table that is not required, only the table."""

    @property
    def is_equal(self) -> bool:
        """Whether all that is required is there as it is required."""
        return not self.missing and not self.differing

    @property
    def statements(self) -> tuple[str, ...]:
        """What makes all that is missing."""
        return tuple(statement for each in self.missing for statement in each.statements)

    @property
    def missing_tables(self) -> tuple[str, ...]:
        """The tables that are not there."""
        return tuple(
            each.object.key.table for each in self.missing if each.object.key.kind is Kind.TABLE
        )

    def verify_compatible(self) -> None:
        """Pass when nothing differs; raises SchemaDiffers."""
        if self.differing:
            raise SchemaDiffers(differing="; ".join(str(each) for each in self.differing))


def compare(required: Extracted, existing: Catalogue) -> Difference:
    """What `existing` lacks, has differently and has besides."""
    assert required.dialect is existing.dialect, "only schemas of one dialect can be compared"
    tables = set(existing.tables)
    missing, differing = [], []
    for key, wanted in required.catalogue.objects.items():
        found = existing.objects.get(key)
        if found is None:
            if not _is_made_with_table(required, key, tables):
                missing.append(_describe_missing(required, wanted, tables))
        elif Differing(wanted, found).facets:
            differing.append(Differing(wanted, found))
    missing.sort(key=lambda each: _ORDER.index(each.object.key.kind))
    return Difference(
        tuple(missing), tuple(differing), tuple(_find_extra(required.catalogue, existing))
    )


async def create_missing(
    connection: ServerConnection,
    required: Extracted,
    *,
    timeout_s: float = TIMEOUT_S,
    before: Callable[[Missing], Awaitable[None]] | None = None,
) -> Difference:
    """Make all that is missing and return what had been found; again, it finds nothing to do.

    Raises SchemaDiffers before anything is made, and RowsWithoutValue. `before` is called before
    each object is made, to note the progress. `connection` must not stand in a transaction: on
    PostgreSQL everything is one, on MySQL each statement is. `timeout_s` is for each statement.
    """
    difference = compare(required, await introspect(connection, timeout_s=timeout_s))
    difference.verify_compatible()
    if not difference.missing:
        return difference
    async with _at_once(connection, timeout_s):
        for each in difference.missing:
            if before is not None:
                await before(each)
            if each.needs_empty_table:
                await _verify_empty(connection, each.object.key, timeout_s=timeout_s)
            for statement in each.statements:
                text = sendable(statement, required.dialect)
                await connection.execute(text, (), timeout_s=timeout_s)
    return difference


@asynccontextmanager
async def _at_once(connection: ServerConnection, timeout_s: float) -> AsyncIterator[None]:
    """All or nothing, where the server can; a table is never seen without its row security."""
    if connection.dialect is Dialect.MYSQL:
        yield
        return
    await connection.begin(read_only=False, timeout_s=timeout_s)
    try:
        yield
    except BaseException:
        await connection.rollback(timeout_s=timeout_s)  # shape: commit - there is no pool here
        raise
    await connection.commit(timeout_s=timeout_s)  # shape: commit - there is no pool here


def _is_made_with_table(required: Extracted, key: Key, tables: set[str]) -> bool:
    if key.table in tables:
        return False
    return key.kind in _WITH_TABLE or (
        key.kind is Kind.INDEX and key.name in required.table(key.table).unique_constraints
    )


def _describe_missing(required: Extracted, wanted: SchemaObject, tables: set[str]) -> Missing:
    key, facets = wanted.key, wanted.facets
    statements = required.additions[key]
    if key.kind is Kind.TABLE:
        statements = (*statements, *required.table(key.table).comments)
    has_value = any(facets.get(name) for name in ("default", "generated", "identity"))
    return Missing(
        wanted,
        statements,
        needs_empty_table=key.kind is Kind.COLUMN
        and key.table in tables
        and facets["nullable"] == "no"
        and not has_value,
    )


def _find_extra(required: Catalogue, existing: Catalogue) -> list[Key]:
    tables = set(required.tables)
    return [
        key
        for key in existing.objects
        if key not in required.objects and (key.kind is Kind.TABLE or key.table in tables)
    ]


async def _verify_empty(connection: ServerConnection, key: Key, *, timeout_s: float) -> None:
    table = ddl.qualified(key.table, connection.dialect)
    query = sendable(f"select 1 as one from {table} limit 1", connection.dialect)
    rows = await connection.fetch(query, (), timeout_s=timeout_s)
    if rows:
        raise RowsWithoutValue(table=key.table, column=key.name)
