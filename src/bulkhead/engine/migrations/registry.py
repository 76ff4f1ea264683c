"""The registry: which migrations a database has had, kept in that database itself.

Each database carries its own registry, so that a restored or moved one knows what it is.
"""

import datetime as dt
from dataclasses import dataclass
from typing import Any

from bulkhead.engine.connections.queries import load_queries
from bulkhead.engine.migrations.files import Label, Migration

QUERIES = load_queries(__package__, "registry.sql")

Connection = Any  # asyncpg's connection class is generic over records.


@dataclass(frozen=True, slots=True)
class Applied:
    """A migration as it was applied, with the text that it had then."""

    namespace: str
    version: int
    name: str
    checksum: str
    up_sql: str
    down_sql: str
    applied_at: dt.datetime
    applied_by: str
    duration_ms: int

    @property
    def label(self) -> str:
        """Version and name as in the file's name: `0007_add_coupons`."""
        return f"{self.version:04}_{self.name}"

    @property
    def migration(self) -> Migration:
        """The migration rebuilt from the registry, for a rollback without its file."""
        return Migration(
            self.namespace, self.version, self.name, self.up_sql, self.down_sql, self.checksum
        )


async def list_applied(connection: Connection) -> tuple[Applied, ...]:
    """What the database has had; nothing when it has no registry yet."""
    if not await connection.fetchval(QUERIES.has_registry):
        return ()
    return await fetch_applied(connection)


async def fetch_applied(connection: Connection) -> tuple[Applied, ...]:
    """What a database that has a registry has had."""
    return tuple(Applied(**dict(row)) for row in await connection.fetch(QUERIES.list_applied))


async def list_labels(connection: Connection) -> tuple[Label, ...]:
    """Namespace, version and name of what the database has had, without the texts."""
    if not await connection.fetchval(QUERIES.has_registry):
        return ()
    rows = await connection.fetch(QUERIES.list_labels)
    return tuple((row["namespace"], row["version"], row["name"]) for row in rows)


async def ensure_registry(connection: Connection) -> None:
    """Create the registry where it is missing; the role of the transaction will own it."""
    await connection.execute(QUERIES.create_registry)


async def record(
    connection: Connection, migration: Migration, duration_ms: int, *, mirrored: bool
) -> None:
    """Note that `migration` was applied."""
    await connection.execute(
        QUERIES.record,
        migration.namespace,
        migration.version,
        migration.name,
        migration.checksum,
        migration.up,
        migration.down,
        duration_ms,
    )
    if mirrored:
        statements = [statement.text for statement in migration.up_statements]
        await connection.execute(
            QUERIES.mirror, f"{migration.version:04}", statements, migration.name
        )


async def forget(connection: Connection, migration: Migration, *, mirrored: bool) -> None:
    """Note that `migration` was rolled back."""
    await connection.execute(QUERIES.forget, migration.namespace, migration.version)
    if mirrored:
        await connection.execute(QUERIES.unmirror, f"{migration.version:04}")
