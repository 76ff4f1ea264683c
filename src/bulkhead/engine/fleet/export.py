"""Write a tenant's rows into an archive, as of one moment, while others go on writing."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any, Final

from bulkhead.engine import failpoints
from bulkhead.engine.clock import now
from bulkhead.engine.drivers.mysql_sql import quote_name
from bulkhead.engine.drivers.protocol import Dialect, ServerConnection
from bulkhead.engine.fleet.archive import (
    MANIFEST,
    NULL,
    SCHEMA,
    ArchivedTable,
    Entry,
    Manifest,
    creating,
    render_rows,
)
from bulkhead.engine.fleet.copying import pages
from bulkhead.engine.fleet.databases import Databases
from bulkhead.engine.fleet.model import TenantRow
from bulkhead.engine.fleet.owner import find_managed, past_policies
from bulkhead.engine.fleet.rows import (
    COUNT_TIMEOUT_S,
    LOOK_TIMEOUT_S,
    QUERIES,
    TenantTable,
    list_tables,
    snapshot,
    sum_table,
)
from bulkhead.engine.fleet.schema_dump import dump_schema

TABLE_WRITTEN: Final = failpoints.register("fleet.export:table_written")


async def export_tenant(databases: Databases, tenant: TenantRow, path: Path) -> Manifest:
    """Write the archive; raises FileExistsError, and what keeps its server from being read."""
    schema = await _schema(databases, tenant)
    async with past_policies(databases, tenant) as connection, snapshot(connection):
        with creating(path) as archive:
            text = Entry(_Whole(archive, SCHEMA))
            text.write(schema.encode())
            tables = [
                await _write_table(archive, connection, table)
                for table in await list_tables(connection)
            ]
            manifest = Manifest(
                tenant=str(tenant.id),
                fleet=tenant.fleet,
                dialect=connection.dialect.value,
                schema_version=tenant.schema_version,
                schema_fingerprint=tenant.schema_fingerprint,
                schema_sha256=text.sha256,
                exported_at=now().isoformat(),
                tables=tuple(tables),
                sequences=await _sequences(connection),
            )
            archive.writestr(MANIFEST, json.dumps(manifest.to_json(), indent=2))
    return manifest


async def _write_table(
    archive: zipfile.ZipFile,
    connection: Any,  # noqa: ANN401 - COPY is PostgreSQL's alone
    table: TenantTable,
) -> ArchivedTable:
    file = f"tables/{table.label}.csv"
    with archive.open(file, "w", force_zip64=True) as stream:
        entry = Entry(stream)
        if connection.dialect is Dialect.POSTGRESQL:
            order = ", ".join(map(table.quote, table.key))
            await connection.raw.copy_from_query(
                f"select {table.column_list} from {table.quoted}"
                + (f" order by {order}" if order else ""),
                output=entry.put,
                format="csv",
                header=True,
                null=NULL,
                timeout=COUNT_TIMEOUT_S,
            )
        else:
            entry.write(render_rows([table.columns]))
            async for rows in pages(connection, table):
                entry.write(render_rows([row[name] for name in table.columns] for row in rows))
    await failpoints.reach(TABLE_WRITTEN)
    total = await sum_table(connection, table)
    return ArchivedTable(
        table.label, file, table.columns, total.rows, entry.bytes, entry.sha256, total.hash
    )


async def _sequences(connection: ServerConnection) -> dict[str, int]:
    if connection.dialect is Dialect.MYSQL:
        return {}
    rows = await connection.fetch(QUERIES.list_sequences_postgresql, (), timeout_s=LOOK_TIMEOUT_S)
    return {
        f"{row['schema']}.{row['name']}": row["last_value"]
        for row in rows
        if row["last_value"] is not None
    }


async def _schema(databases: Databases, tenant: TenantRow) -> str:
    """The schema as SQL: PostgreSQL's own words, where its programs can be run."""
    managed = await find_managed(databases, tenant.place)
    if managed is not None and managed.driver.dialect is Dialect.POSTGRESQL:
        return await dump_schema(managed.driver, managed.spec)
    async with past_policies(databases, tenant) as connection:
        if connection.dialect is Dialect.POSTGRESQL:
            return "-- The database is its owner's; its schema is that of the manifest's version.\n"
        parts = []
        for table in await list_tables(connection):
            rows = await connection.fetch(
                f"show create table {quote_name(table.name)}".replace("%", "%%"),
                (),
                timeout_s=LOOK_TIMEOUT_S,
            )
            parts.append(f"{list(rows[0].values())[1]};\n")
    return "\n".join(parts)


class _Whole:
    """A small file of an archive that is written at once."""

    def __init__(self, archive: zipfile.ZipFile, name: str) -> None:
        self._archive = archive
        self._name = name

    def write(self, data: bytes) -> None:
        self._archive.writestr(self._name, data)
