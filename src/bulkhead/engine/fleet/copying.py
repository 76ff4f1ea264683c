"""Copy the rows of a tenant from one database to another of the same dialect."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

from bulkhead.engine import failpoints
from bulkhead.engine.connections.sql import identifier, literal
from bulkhead.engine.drivers.errors import FAILURES, translate
from bulkhead.engine.drivers.protocol import Dialect, ServerConnection
from bulkhead.engine.fleet.connection import TenantConnection
from bulkhead.engine.fleet.databases import Databases
from bulkhead.engine.fleet.model import TenantId, TenantRow
from bulkhead.engine.fleet.owner import past_policies
from bulkhead.engine.fleet.rows import (
    COUNT_TIMEOUT_S,
    LOOK_TIMEOUT_S,
    QUERIES,
    RowsDiffer,
    TenantTable,
    list_tables,
    snapshot,
    sum_all,
    verify_equal,
)

PAGE_ROWS: Final = 1000
CHUNKS_MAX: Final = 8
TABLE_COPIED: Final = failpoints.register("fleet.copying:table_copied")
BEFORE_COMMIT: Final = failpoints.register("fleet.copying:before_commit")


async def replace_rows(databases: Databases, source: TenantRow, target: TenantRow) -> int:
    """Let `target` have the rows of `source`, as of one moment, and return how many.

    One transaction: all of it or nothing. Counts and hashes are compared before it commits; raises
    RowsDiffer, and TenantChanged when `target` was opened or moved meanwhile. Triggers do not fire
    where the administrator may keep them from it.
    """
    async with (
        past_policies(databases, source) as origin,
        past_policies(databases, target) as copy,
        snapshot(origin),
    ):
        tables = await list_tables(origin)
        _verify_shape(tables, await list_tables(copy))
        async with replacing(copy, target.id):
            await empty_tables(copy, tables)
            for table in tables:
                await copy_table(origin, copy, table)
                await failpoints.reach(TABLE_COPIED)
            if copy.dialect is Dialect.POSTGRESQL:
                await copy_sequences(origin, copy)
            sums = await sum_all(origin, tables)
            verify_equal(sums, await sum_all(copy, tables))
            await failpoints.reach(BEFORE_COMMIT)
            await databases.verify_unchanged(target)
    return sum(each.rows for each in sums.values())


async def copy_table(
    origin: ServerConnection, copy: ServerConnection, table: TenantTable, where: str = ""
) -> None:
    """Add the rows of one table; with `where`, a condition, some of them."""
    if origin.dialect is Dialect.POSTGRESQL:
        await _stream(origin, copy, table, where)
        return
    marks = ", ".join(["%s"] * len(table.columns))
    insert = f"insert into {table.quoted} ({table.column_list}) values ({marks})"
    async for rows in pages(origin, table, where):
        values = [[row[column] for column in table.columns] for row in rows]
        await copy.execute_many(insert, values, timeout_s=COUNT_TIMEOUT_S)


async def copy_sequences(origin: ServerConnection, copy: ServerConnection) -> None:
    """Let every sequence go on where it stands."""
    rows = await origin.fetch(QUERIES.list_sequences_postgresql, (), timeout_s=LOOK_TIMEOUT_S)
    calls = [
        "pg_catalog.setval("
        + literal(f"{identifier(row['schema'])}.{identifier(row['name'])}")
        + f", {int(row['last_value'])})"
        for row in rows
        if row["last_value"] is not None
    ]
    if calls:
        await copy.fetch(f"select {', '.join(calls)}", (), timeout_s=LOOK_TIMEOUT_S)


async def pages(
    connection: ServerConnection, table: TenantTable, condition: str = ""
) -> AsyncIterator[Sequence[Mapping[str, Any]]]:
    """The rows of a table on MySQL, in the order of its key; all at once where it has none."""
    order = ", ".join(map(table.quote, table.key))
    select = f"select {table.column_list} from {table.quoted}"
    if not table.key:
        select += f" where {condition}" if condition else ""
        yield await connection.fetch(select, (), timeout_s=COUNT_TIMEOUT_S)
        return
    after: tuple[Any, ...] = ()
    while True:
        conditions = [f"({condition})"] if condition else []
        if after:
            marks = ", ".join(["%s"] * len(after))
            conditions.append(f"({order}) > ({marks})")
        where = f" where {' and '.join(conditions)}" if conditions else ""
        sql = f"{select}{where} order by {order} limit {PAGE_ROWS}"
        rows = await connection.fetch(sql, after, timeout_s=COUNT_TIMEOUT_S)
        if rows:
            yield rows
        if len(rows) < PAGE_ROWS:
            return
        after = tuple(rows[-1][column] for column in table.key)


async def _stream(origin: Any, copy: Any, table: TenantTable, where: str) -> None:  # noqa: ANN401
    """COPY from one server into the other; no more than a few chunks are here at a time."""
    chunks: asyncio.Queue[bytes | None] = asyncio.Queue(CHUNKS_MAX)

    async def read() -> None:
        try:
            await origin.raw.copy_from_query(
                f"select {table.column_list} from {table.quoted}"
                + (f" where {where}" if where else ""),
                output=chunks.put,
                timeout=COUNT_TIMEOUT_S,
            )
        finally:
            await chunks.put(None)

    async def arrive() -> AsyncIterator[bytes]:
        while (chunk := await chunks.get()) is not None:
            yield chunk

    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(read())
            group.create_task(
                copy.raw.copy_to_table(
                    table.name,
                    schema_name=table.schema,
                    columns=table.columns,
                    source=arrive(),
                    timeout=COUNT_TIMEOUT_S,
                )
            )
    except* FAILURES as errors:
        first = errors.exceptions[0]
        raise translate(first) from first


@asynccontextmanager
async def replacing(copy: ServerConnection, tenant: TenantId) -> AsyncIterator[None]:
    """A transaction in which rows are written in any order, without triggers where that may be."""
    if copy.dialect is Dialect.MYSQL:
        await copy.execute("set session foreign_key_checks = 0", (), timeout_s=LOOK_TIMEOUT_S)
    async with TenantConnection(copy, tenant, timeout_s=COUNT_TIMEOUT_S).transaction():
        if copy.dialect is Dialect.POSTGRESQL:
            await copy.execute("set local statement_timeout = 0", (), timeout_s=LOOK_TIMEOUT_S)
            await _silence_triggers(copy)
        yield


async def _silence_triggers(copy: ServerConnection) -> None:
    rows = await copy.fetch(
        "select rolsuper from pg_catalog.pg_roles where rolname = current_user",
        (),
        timeout_s=LOOK_TIMEOUT_S,
    )
    if rows and rows[0]["rolsuper"]:
        await copy.execute(
            "set local session_replication_role = replica", (), timeout_s=LOOK_TIMEOUT_S
        )


async def empty_tables(copy: ServerConnection, tables: Sequence[TenantTable]) -> None:
    """Delete every row."""
    if not tables:
        return
    if copy.dialect is Dialect.POSTGRESQL:
        names = ", ".join(table.quoted for table in tables)
        await copy.execute(f"truncate {names}", (), timeout_s=COUNT_TIMEOUT_S)
        return
    for table in reversed(tables):
        await copy.execute(f"delete from {table.quoted}", (), timeout_s=COUNT_TIMEOUT_S)


def _verify_shape(expected: Sequence[TenantTable], found: Sequence[TenantTable]) -> None:
    """Pass when both have the same tables with the same columns; raises RowsDiffer.

    A database that was migrated has them in another order than one that was made later.
    """
    there = {table.label: frozenset(table.columns) for table in found}
    differing = [
        table.label for table in expected if there.get(table.label) != frozenset(table.columns)
    ]
    if differing:
        raise RowsDiffer(differing=f"columns of {', '.join(differing)}")
