"""Load an archive into a tenant's database: whole, or not at all.

The archive may come from another tenant and from a server of the other dialect; the schema has to
be the same. It is verified before anything is written, and what was written is compared with it
before that is committed.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from bulkhead.engine import failpoints
from bulkhead.engine.connections.queries import load_queries
from bulkhead.engine.connections.sql import identifier, literal
from bulkhead.engine.drivers.errors import FAILURES, translate
from bulkhead.engine.drivers.protocol import Dialect, ServerConnection
from bulkhead.engine.errors import Conflict
from bulkhead.engine.fleet.archive import (
    CHUNK_BYTES,
    FORMAT,
    NULL,
    ArchivedTable,
    HashedFile,
    Manifest,
    read_manifest,
    read_rows,
    reading,
    text_of,
    verify_archive,
)
from bulkhead.engine.fleet.cells import KINDS, Kind, for_mysql, hash_rows
from bulkhead.engine.fleet.copying import empty_tables, pages, replacing
from bulkhead.engine.fleet.databases import Databases
from bulkhead.engine.fleet.model import TenantRow, TenantState
from bulkhead.engine.fleet.owner import past_policies
from bulkhead.engine.fleet.rows import (
    COUNT_TIMEOUT_S,
    LOOK_TIMEOUT_S,
    RowsDiffer,
    TenantTable,
    list_tables,
    sum_table,
)

QUERIES: Final = load_queries(__package__, "load.sql")
BATCH_ROWS: Final = 500
TABLE_LOADED: Final = failpoints.register("fleet.load:table_loaded")
BEFORE_COMMIT: Final = failpoints.register("fleet.load:before_commit")


class ArchiveUnfit(Conflict):
    """Archive {path} cannot be loaded into tenant {tenant}: {reason}."""

    code = "archive_unfit"
    hint = (
        "Load it into a new tenant of the same fleet, migrated to the version of the archive; "
        "`bulkhead tenant import --replace` takes out the rows that one has."
    )


@dataclass(frozen=True, slots=True)
class _Part:
    """A table of the archive, and where its rows go."""

    archived: ArchivedTable
    table: TenantTable
    """With the columns in the order of the archive."""
    kinds: tuple[Kind, ...]


async def load_archive(
    databases: Databases,
    tenant: TenantRow,
    path: Path,
    *,
    first_rows: Mapping[str, int] | None = None,
    is_replacing: bool = False,
) -> Manifest:
    """Give a suspended tenant the rows of the archive at `path`, in one transaction.

    Only tables that provisioning fills may have rows, as many as `first_rows` says, which give way;
    with `is_replacing` all tables may. Raises ArchiveBroken, ArchiveUnfit, RowsDiffer,
    TenantChanged when it was opened or moved meanwhile, and what keeps the server from taking the
    rows; then nothing was changed.
    """
    manifest = await asyncio.to_thread(verify_archive, path)
    _verify_fit(manifest, path, tenant)
    async with past_policies(databases, tenant) as connection:
        tables = await list_tables(connection)
        parts = _match(await _kinds(connection), tables, manifest, path, tenant)
        async with replacing(connection, tenant.id):
            if connection.dialect is Dialect.POSTGRESQL:
                # What MySQL wrote has no zone, and is in UTC.
                await connection.execute("set local timezone to 'UTC'", (), timeout_s=10)
            if not is_replacing:
                await _verify_empty(connection, tables, first_rows or {}, path, tenant)
            await empty_tables(connection, tables)
            for part in parts:
                await _load_table(connection, part, path, tenant)
                await failpoints.reach(TABLE_LOADED)
            if connection.dialect is Dialect.POSTGRESQL:
                await _set_sequences(connection, manifest)
            for part in parts:
                await _verify_table(connection, part, path, manifest)
            await failpoints.reach(BEFORE_COMMIT)
            await databases.verify_unchanged(tenant)
    return manifest


async def verify_fit(tenant: TenantRow, path: Path) -> None:
    """Pass for an archive that says of itself that it can be loaded; what it has is not looked at.

    Raises ArchiveBroken, ArchiveUnfit.
    """
    _verify_fit(await asyncio.to_thread(read_manifest, path), path, tenant)


async def read_table(path: Path, name: str, rows: int) -> AsyncIterator[list[dict[str, Any]]]:
    """The rows of one table of an archive, in pages; values are text, as `text_of` made it.

    Nothing where the archive has no such table. Raises ArchiveBroken.
    """
    manifest = await asyncio.to_thread(read_manifest, path)
    for table in manifest.tables:
        if _plain(table.table) != name:
            continue
        with reading(path, table) as file:
            found = read_rows(file)
            while page := list(itertools.islice(found, rows)):
                yield [dict(zip(table.columns, row, strict=True)) for row in page]


def _verify_fit(manifest: Manifest, path: Path, tenant: TenantRow) -> None:
    reason = _refusal(manifest, tenant)
    if reason is not None:
        raise ArchiveUnfit(path=str(path), tenant=tenant.id, reason=reason)


def _refusal(manifest: Manifest, tenant: TenantRow) -> str | None:
    if manifest.format != FORMAT:
        return f"its format is {manifest.format}, and not {FORMAT}"
    if manifest.fleet != tenant.fleet:
        return f"it is of the fleet '{manifest.fleet}'"
    if manifest.schema_version != tenant.schema_version:
        versions = f"{manifest.schema_version:04}, that of the tenant at {tenant.schema_version:04}"
        return f"its schema is at version {versions}"
    if tenant.state is not TenantState.SUSPENDED:
        return f"the tenant is {tenant.state.value}; suspend it, so that nobody works in it"
    return None


async def _kinds(connection: ServerConnection) -> dict[tuple[str, str], Kind]:
    """What each column holds, by its table's label and its name."""
    is_mysql = connection.dialect is Dialect.MYSQL
    query = QUERIES.column_types_mysql if is_mysql else QUERIES.column_types_postgresql
    rows = await connection.fetch(query, (), timeout_s=LOOK_TIMEOUT_S)
    return {(row["label"], row["name"]): KINDS.get(row["type"], Kind.TEXT) for row in rows}


def _match(
    kinds: dict[tuple[str, str], Kind],
    tables: Sequence[TenantTable],
    manifest: Manifest,
    path: Path,
    tenant: TenantRow,
) -> list[_Part]:
    """Each table of the archive with that of the tenant, parents first; raises ArchiveUnfit."""
    archived = {_plain(each.table): each for each in manifest.tables}
    there = {_plain(table.label): table for table in tables}
    differing = sorted(
        name
        for name in archived.keys() | there.keys()
        if name not in archived
        or name not in there
        or frozenset(archived[name].columns) != frozenset(there[name].columns)
    )
    if differing:
        reason = f"tables or columns differ: {', '.join(differing[:10])}"
        raise ArchiveUnfit(path=str(path), tenant=tenant.id, reason=reason)
    parts = []
    for name, table in there.items():
        found = archived[name]
        types = tuple(kinds[table.label, column] for column in found.columns)
        parts.append(_Part(found, replace(table, columns=found.columns), types))
    return parts


def _plain(label: str) -> str:
    """The name of a table for both dialects; MySQL's have no schema."""
    return label.removeprefix("public.")


async def _verify_empty(
    connection: ServerConnection,
    tables: Sequence[TenantTable],
    first_rows: Mapping[str, int],
    path: Path,
    tenant: TenantRow,
) -> None:
    for table in tables:
        allowed = first_rows.get(_plain(table.label), 0)
        sql = f"select 1 as one from {table.quoted} limit 1 offset {allowed}"
        if await connection.fetch(sql, (), timeout_s=LOOK_TIMEOUT_S):
            reason = f"'{_plain(table.label)}' has rows"
            raise ArchiveUnfit(path=str(path), tenant=tenant.id, reason=reason)


async def _load_table(
    connection: ServerConnection, part: _Part, path: Path, tenant: TenantRow
) -> None:
    with reading(path, part.archived) as file:
        if connection.dialect is Dialect.POSTGRESQL:
            await _copy_in(connection, part, file)
            return
        try:
            await _insert(connection, part, file)
        except (ValueError, OverflowError) as error:
            reason = f"MySQL cannot hold a value of '{part.table.name}': {error}"
            raise ArchiveUnfit(path=str(path), tenant=tenant.id, reason=reason) from None


async def _copy_in(connection: Any, part: _Part, file: HashedFile) -> None:  # noqa: ANN401
    async def chunks() -> AsyncIterator[bytes]:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk
            await asyncio.sleep(0)

    try:
        await connection.raw.copy_to_table(
            part.table.name,
            schema_name=part.table.schema,
            columns=part.archived.columns,
            source=chunks(),
            format="csv",
            header=True,
            null=NULL,
            timeout=COUNT_TIMEOUT_S,
        )
    except FAILURES as error:
        raise translate(error) from error


async def _insert(connection: ServerConnection, part: _Part, file: HashedFile) -> None:
    marks = ", ".join(["%s"] * len(part.kinds))
    insert = f"insert into {part.table.quoted} ({part.table.column_list}) values ({marks})"
    batch: list[list[object]] = []
    for row in read_rows(file):
        batch.append([for_mysql(*each) for each in zip(part.kinds, row, strict=True)])
        if len(batch) == BATCH_ROWS:
            await connection.execute_many(insert, batch, timeout_s=COUNT_TIMEOUT_S)
            batch.clear()
    if batch:
        await connection.execute_many(insert, batch, timeout_s=COUNT_TIMEOUT_S)


async def _set_sequences(connection: ServerConnection, manifest: Manifest) -> None:
    """Let the sequences that there are go on where those of the archive stood."""
    for label, value in manifest.sequences.items():
        schema, _, name = label.partition(".")
        quoted = literal(f"{identifier(schema)}.{identifier(name)}")
        await connection.fetch(
            f"select pg_catalog.setval(pg_catalog.to_regclass({quoted}), {int(value)})",
            (),
            timeout_s=LOOK_TIMEOUT_S,
        )


async def _verify_table(
    connection: ServerConnection, part: _Part, path: Path, manifest: Manifest
) -> None:
    """Pass when the table has what the archive has; raises RowsDiffer.

    The server's own hash is compared first, which is quick. It depends on the dialect and on the
    zone of whoever wrote the archive; where it differs, the meaning of each value decides.
    """
    found = await sum_table(connection, part.table)
    expected = part.archived
    if found.rows != expected.rows:
        differing = f"{part.table.label} has {found.rows} rows instead of {expected.rows}"
        raise RowsDiffer(differing=differing)
    if connection.dialect.value == manifest.dialect and found.hash == expected.rows_hash:
        return
    with reading(path, expected) as file:
        wanted = hash_rows(part.kinds, read_rows(file))
    if await _hash_table(connection, part) != wanted:
        raise RowsDiffer(differing=f"{part.table.label} has other values than the archive")


async def _hash_table(connection: Any, part: _Part) -> int:  # noqa: ANN401
    total = 0
    if connection.dialect is Dialect.MYSQL:
        async for rows in pages(connection, part.table):
            cells = ([text_of(row[name]) for name in part.table.columns] for row in rows)
            total += hash_rows(part.kinds, cells)
        return total
    columns = ", ".join(f"{part.table.quote(name)}::text" for name in part.table.columns)
    async for row in connection.raw.cursor(f"select {columns} from {part.table.quoted}"):
        total += hash_rows(part.kinds, [tuple(row)])
    return total
