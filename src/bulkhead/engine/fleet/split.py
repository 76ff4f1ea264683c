"""Give a tenant of a shared database a database of its own.

In a shared database the rows of all tenants stand in the same tables, told apart by a column or by
the row that they refer to. The tenant's rows are copied into its database, which was provisioned
before, and compared by count and hash; nothing is changed in the shared one. It may be repeated:
once while the shared database is still in use, to see how long it takes and that it goes well, and
once more after the application has stopped writing there.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

from bulkhead.engine import failpoints
from bulkhead.engine.connections.sql import literal
from bulkhead.engine.drivers.mysql_sql import quote_text
from bulkhead.engine.drivers.protocol import Dialect, ServerConnection
from bulkhead.engine.egress import Egress
from bulkhead.engine.egress.address import parse_network
from bulkhead.engine.errors import Conflict, Invalid
from bulkhead.engine.fleet.copying import copy_sequences, copy_table, empty_tables, replacing
from bulkhead.engine.fleet.databases import Databases
from bulkhead.engine.fleet.model import ConnectionConfig, ServerKind, TenantRow, TenantState
from bulkhead.engine.fleet.mysql import OutsideMysql
from bulkhead.engine.fleet.outside import OutsidePostgres, dial_plainly
from bulkhead.engine.fleet.owner import CONNECT_TIMEOUT_S, administer_outside, past_policies
from bulkhead.engine.fleet.rows import (
    COUNT_TIMEOUT_S,
    TableSum,
    TenantTable,
    list_tables,
    snapshot,
    sum_table,
    verify_equal,
)

DEPTH_MAX: Final = 16
EVERYWHERE: Final = tuple(map(parse_network, ("0.0.0.0/0", "::/0")))
TABLE_SPLIT: Final = failpoints.register("fleet.split:table_split")


class SplitRefused(Conflict):
    """Tenant {tenant} cannot get its rows from the shared database: {reason}."""

    code = "tenant_split_refused"


@dataclass(frozen=True, slots=True)
class OwnColumn:
    """The table says itself whose each row is."""

    column: str


@dataclass(frozen=True, slots=True)
class OfParent:
    """A row is whose the row is that it refers to."""

    column: str
    parent: str
    parent_column: str = "id"


@dataclass(frozen=True, slots=True)
class Whole:
    """All rows are copied: the same for every tenant."""


Ownership = OwnColumn | OfParent | Whole
"""By the table's name, without its schema."""


@asynccontextmanager
async def open_shared(config: ConnectionConfig) -> AsyncIterator[ServerConnection]:
    """Connect to a shared database that an operator names, wherever it is.

    Fails rather than hides rows behind policies. Raises what keeps it from being reached.
    """
    connection = await administer_outside(
        OutsideMysql(config, Egress(EVERYWHERE))
        if config.kind is ServerKind.MYSQL
        else OutsidePostgres(config, dial_plainly)
    )
    try:
        if connection.dialect is Dialect.POSTGRESQL:
            await connection.execute("set row_security = off", (), timeout_s=CONNECT_TIMEOUT_S)
        yield connection
    finally:
        connection.terminate()


async def split_tenant(
    databases: Databases,
    shared: ServerConnection,
    key: object,
    tenant: TenantRow,
    ownership: Mapping[str, Ownership],
) -> dict[str, TableSum]:
    """Replace the rows of `tenant` by those that `key` has in `shared`, as of one moment.

    Of each table in `ownership` the columns are copied that the tenant's has; tables that are not
    in it stay as they are. One transaction: all of it or nothing. The tenant is suspended, and its
    database speaks the dialect of `shared`. Raises SplitRefused, RowsDiffer, Invalid, and
    TenantChanged when it was opened or moved meanwhile.
    """
    if tenant.state is not TenantState.SUSPENDED:
        raise SplitRefused(tenant=tenant.id, reason="suspend it first, so that nobody works in it")
    async with past_policies(databases, tenant) as own, snapshot(shared):
        if own.dialect is not shared.dialect:
            raise SplitRefused(tenant=tenant.id, reason="the two databases are of different kinds")
        tables = await _tables(tenant, own, shared, ownership)
        expected: dict[str, TableSum] = {}
        found: dict[str, TableSum] = {}
        async with replacing(own, tenant.id):
            await empty_tables(own, [*tables.values(), *await _referring(tenant, own, tables)])
            for name, table in tables.items():
                where = condition(name, ownership, key, own.dialect)
                await copy_table(shared, own, table, where)
                expected[name] = await sum_table(shared, table, where)
                await failpoints.reach(TABLE_SPLIT)
            if own.dialect is Dialect.POSTGRESQL:
                await copy_sequences(shared, own)
            for name, table in tables.items():
                found[name] = await sum_table(own, table)
            verify_equal(expected, found)
            await databases.verify_unchanged(tenant)
    return found


async def walk_shared(
    shared: ServerConnection,
    table: str,
    key: object,
    ownership: Mapping[str, Ownership],
    columns: Sequence[str],
    rows: int,
) -> AsyncIterator[Sequence[Mapping[str, Any]]]:
    """Rows of a shared table that are those of `key`, by their `id`, so many at a time.

    A column of `columns` that the table lacks is None. Raises Invalid as `condition`.
    """
    where = condition(table, ownership, key, shared.dialect)
    [found] = [each for each in await list_tables(shared) if each.name == table]
    chosen = ", ".join(
        found.quote(name) if name in found.columns else f"null as {found.quote(name)}"
        for name in columns
    )
    after = ""
    while True:
        conditions = [f"({each})" for each in (where, after) if each]
        condition_text = f" where {' and '.join(conditions)}" if conditions else ""
        sql = (
            f"select {chosen} from {found.quoted}{condition_text}"
            f" order by {found.quote('id')} limit {rows}"
        )
        page = await shared.fetch(sql, (), timeout_s=COUNT_TIMEOUT_S)
        if page:
            yield page
        if len(page) < rows:
            return
        last = str(page[-1]["id"])
        is_mysql = shared.dialect is Dialect.MYSQL
        after = f"{found.quote('id')} > {quote_text(last) if is_mysql else literal(last)}"


def condition(table: str, ownership: Mapping[str, Ownership], key: object, dialect: Dialect) -> str:
    """Which rows of a shared table are those of `key`, in SQL; raises Invalid for a circle."""
    return _condition(table, ownership, key, dialect, 0)


def _condition(
    table: str, ownership: Mapping[str, Ownership], key: object, dialect: Dialect, depth: int
) -> str:
    owner = ownership.get(table)
    if owner is None or depth > DEPTH_MAX:
        raise Invalid(reason=f"it is not said whose the rows of '{table}' are")
    schema = None if dialect is Dialect.MYSQL else "public"
    here = TenantTable(schema, table, (), (), frozenset())
    match owner:
        case Whole():
            return ""
        case OwnColumn(column):
            value = quote_text(str(key)) if dialect is Dialect.MYSQL else literal(str(key))
            return f"{here.quote(column)} = {value}"
        case OfParent(column, parent, parent_column):
            inner = _condition(parent, ownership, key, dialect, depth + 1)
            there = TenantTable(schema, parent, (), (), frozenset())
            where = f" where {inner}" if inner else ""
            return (
                f"{here.quote(column)} in (select {there.quote(parent_column)}"
                f" from {there.quoted}{where})"
            )


async def _tables(
    tenant: TenantRow,
    own: ServerConnection,
    shared: ServerConnection,
    ownership: Mapping[str, Any],
) -> dict[str, TenantTable]:
    """The tenant's tables that get rows, parents first; each with the columns that both have."""
    there = {table.name: set(table.columns) for table in await list_tables(shared)}
    mine = {table.name: table for table in await list_tables(own) if table.name in ownership}
    missing = sorted(ownership.keys() - (mine.keys() & there.keys()))
    if missing:
        reason = f"there is no table {', '.join(missing)} on both sides"
        raise SplitRefused(tenant=tenant.id, reason=reason)
    return {
        name: TenantTable(
            table.schema,
            name,
            tuple(column for column in table.columns if column in there[name]),
            table.key,
            table.parents,
        )
        for name, table in mine.items()
    }


async def _referring(
    tenant: TenantRow, own: ServerConnection, tables: Mapping[str, TenantTable]
) -> list[TenantTable]:
    """The tenant's other tables that refer to those, parents first; all of them are empty.

    Rows in one of them would refer to what is about to go.
    """
    emptied = {table.label for table in tables.values()}
    found: list[TenantTable] = []
    for table in await list_tables(own):
        if table.label in emptied or not table.parents & emptied:
            continue
        rows = await own.fetch(
            f"select 1 as found from {table.quoted} limit 1", (), timeout_s=CONNECT_TIMEOUT_S
        )
        if rows:
            reason = f"rows of '{table.name}' refer to what is replaced; say whose they are too"
            raise SplitRefused(tenant=tenant.id, reason=reason)
        emptied.add(table.label)
        found.append(table)
    return found
