"""The rows of a tenant's database: which tables there are, and what is counted and compared.

A count and a hash of a table do not depend on the order of its rows, so that two servers can be
compared without sorting on either.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

from bulkhead.engine.connections.queries import load_queries
from bulkhead.engine.connections.sql import identifier
from bulkhead.engine.drivers.mysql_sql import quote_name
from bulkhead.engine.drivers.postgres_connection import PostgresConnection
from bulkhead.engine.drivers.protocol import Dialect, ServerConnection
from bulkhead.engine.errors import BulkheadError

QUERIES: Final = load_queries(__package__, "rows.sql")
LOOK_TIMEOUT_S: Final = 30.0
COUNT_TIMEOUT_S: Final = 3600.0


class RowsDiffer(BulkheadError):
    """Rows did not arrive as they were: {differing}."""

    code = "rows_differ"
    status = 409
    hint = "The copy was not taken into use. Start again, and tell whoever runs the servers."


@dataclass(frozen=True, slots=True)
class TenantTable:
    """A table with rows of the tenant."""

    schema: str | None
    """None on MySQL, where a database has none."""
    name: str
    columns: tuple[str, ...]
    """Those that can be written."""
    key: tuple[str, ...]
    """The primary key; empty where there is none."""
    parents: frozenset[str]

    @property
    def label(self) -> str:
        """Its name with its schema."""
        return f"{self.schema}.{self.name}" if self.schema else self.name

    @property
    def quoted(self) -> str:
        """Its name in SQL."""
        if self.schema is None:
            return quote_name(self.name)
        return f"{identifier(self.schema)}.{identifier(self.name)}"

    def quote(self, column: str) -> str:
        """A column of it in SQL."""
        return quote_name(column) if self.schema is None else identifier(column)

    @property
    def column_list(self) -> str:
        """Its columns in SQL."""
        return ", ".join(map(self.quote, self.columns))


@dataclass(frozen=True, slots=True)
class TableSum:
    """How many rows a table has, and a hash of all of them."""

    rows: int
    hash: str


async def list_tables(connection: ServerConnection) -> tuple[TenantTable, ...]:
    """The tables with rows, each after those that it refers to as far as there is an order."""
    if connection.dialect is Dialect.MYSQL:
        return order_tables(await _list_mysql(connection))
    rows = await connection.fetch(QUERIES.list_tables_postgresql, (), timeout_s=LOOK_TIMEOUT_S)
    return order_tables(
        [
            TenantTable(
                row["schema"],
                row["name"],
                tuple(row["columns"]),
                tuple(row["key"]),
                frozenset(row["parents"]),
            )
            for row in rows
        ]
    )


def order_tables(tables: Sequence[TenantTable]) -> tuple[TenantTable, ...]:
    """Parents first; where tables refer to one another in a circle, by name."""
    left = {table.label: table for table in tables}
    ordered: list[TenantTable] = []
    while left:
        free = [name for name, table in left.items() if not table.parents & (left.keys() - {name})]
        ordered += [left.pop(name) for name in free or [min(left)]]
    return tuple(ordered)


async def sum_table(connection: ServerConnection, table: TenantTable, where: str = "") -> TableSum:
    """Count and hash the rows that `connection` sees; with `where`, a condition, some of them."""
    if connection.dialect is Dialect.MYSQL:
        parts = ", ".join(
            f"coalesce(hex(cast({table.quote(c)} as binary)), '-')" for c in table.columns
        )
        value = f"cast(conv(left(md5(concat_ws('|', {parts})), 15), 16, 10) as unsigned)"
    else:
        value = (
            "('x' || pg_catalog.left(pg_catalog.md5("
            f"pg_catalog.row({table.column_list})::text), 15))::bit(60)::bigint::numeric"
        ).replace("pg_catalog.row(", "row(")
    rows = await connection.fetch(
        f"select count(*) as found, coalesce(sum({value}), 0) as hash from {table.quoted}"
        + (f" where {where}" if where else ""),
        (),
        timeout_s=COUNT_TIMEOUT_S,
    )
    return TableSum(int(rows[0]["found"]), str(int(rows[0]["hash"])))


async def sum_all(
    connection: ServerConnection, tables: Sequence[TenantTable]
) -> dict[str, TableSum]:
    """Count and hash every table."""
    return {table.label: await sum_table(connection, table) for table in tables}


def verify_equal(expected: Mapping[str, TableSum], found: Mapping[str, TableSum]) -> None:
    """Pass when both have the same tables with the same rows; raises RowsDiffer."""
    differing = [
        f"{name} has {_told(found.get(name))} instead of {_told(expected.get(name))}"
        for name in sorted(expected.keys() | found.keys())
        if expected.get(name) != found.get(name)
    ]
    if differing:
        raise RowsDiffer(differing="; ".join(differing[:10]))


@asynccontextmanager
async def snapshot(connection: ServerConnection) -> AsyncIterator[None]:
    """See one moment of the database until the block ends; nothing can be changed in it."""
    if isinstance(connection, PostgresConnection):
        await connection.begin(read_only=True, timeout_s=LOOK_TIMEOUT_S, repeatable_read=True)
        begin: Sequence[str] = (
            "set local statement_timeout = 0",
            "set local idle_in_transaction_session_timeout = 0",
        )
    else:
        begin = (
            "set session transaction isolation level repeatable read",
            "start transaction with consistent snapshot, read only",
        )
    for statement in begin:
        await connection.execute(statement, (), timeout_s=LOOK_TIMEOUT_S)
    if connection.dialect is Dialect.POSTGRESQL:
        # The snapshot is taken by the first query.
        await connection.fetch("select pg_catalog.txid_current_snapshot()", (), timeout_s=10)
    try:
        yield
    finally:
        if not connection.is_closed():
            await connection.execute("rollback", (), timeout_s=LOOK_TIMEOUT_S)


async def _list_mysql(connection: ServerConnection) -> list[TenantTable]:
    columns: dict[str, list[str]] = {}
    keys: dict[str, dict[int, str]] = {}
    for row in await connection.fetch(QUERIES.list_columns_mysql, (), timeout_s=LOOK_TIMEOUT_S):
        columns.setdefault(row["name"], []).append(row["column_name"])
        if row["position"] is not None:
            keys.setdefault(row["name"], {})[int(row["position"])] = row["column_name"]
    parents: dict[str, set[str]] = {}
    for row in await connection.fetch(QUERIES.list_references_mysql, (), timeout_s=LOOK_TIMEOUT_S):
        parents.setdefault(row["name"], set()).add(row["parent"])
    return [
        TenantTable(
            None,
            name,
            tuple(names),
            tuple(name for _, name in sorted(keys.get(name, {}).items())),
            frozenset(parents.get(name, ())),
        )
        for name, names in columns.items()
    ]


def _told(found: TableSum | None) -> Any:  # noqa: ANN401
    return f"{found.rows} rows ({found.hash})" if found is not None else "no table"
