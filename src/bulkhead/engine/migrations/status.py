"""Where a database stands against its files; never raises for what it finds."""

from collections.abc import Sequence
from dataclasses import dataclass

from bulkhead.engine.drivers.protocol import DatabaseSpec
from bulkhead.engine.migrations.files import MigrationSet
from bulkhead.engine.migrations.registry import Applied, Connection, list_applied
from bulkhead.engine.migrations.run import set_scope


@dataclass(frozen=True, slots=True)
class NamespaceStatus:
    """One set of migrations in one database."""

    namespace: str
    version: int
    """The highest version applied; 0 when there is none."""
    latest: int
    """The highest version of the files."""
    pending: tuple[str, ...]
    """Labels that would be applied."""
    changed: tuple[str, ...]
    """Labels whose file is no longer what was applied."""
    unknown: tuple[str, ...]
    """Labels that were applied and have no file here."""

    @property
    def is_current(self) -> bool:
        """Whether there is nothing to do and nothing to worry about."""
        return not (self.pending or self.changed or self.unknown)


@dataclass(frozen=True, slots=True)
class Status:
    """All sets of one database, in their order."""

    database: str
    namespaces: tuple[NamespaceStatus, ...]
    foreign: tuple[str, ...]
    """Namespaces in the registry that none of the sets has."""

    @property
    def is_current(self) -> bool:
        """Whether every set is."""
        return all(namespace.is_current for namespace in self.namespaces)


async def read_applied(connection: Connection, spec: DatabaseSpec) -> tuple[Applied, ...]:
    """What the database has had; changes nothing, also where there is no registry yet."""
    async with connection.transaction(readonly=True):
        await set_scope(connection, spec)
        return await list_applied(connection)


async def read_status(
    connection: Connection, spec: DatabaseSpec, sets: Sequence[MigrationSet]
) -> Status:
    """Compare the registry of the database with `sets`."""
    return compare(spec.name, sets, await read_applied(connection, spec))


def compare(database: str, sets: Sequence[MigrationSet], applied: Sequence[Applied]) -> Status:
    """Compare registry rows with files."""
    known = {migrations.namespace for migrations in sets}
    return Status(
        database,
        tuple(
            _compare_set(migrations, [r for r in applied if r.namespace == migrations.namespace])
            for migrations in sets
        ),
        tuple(sorted({row.namespace for row in applied} - known)),
    )


def _compare_set(migrations: MigrationSet, had: Sequence[Applied]) -> NamespaceStatus:
    checksums = {row.version: row.checksum for row in had}
    files = migrations.migrations
    return NamespaceStatus(
        namespace=migrations.namespace,
        version=max(checksums, default=0),
        latest=migrations.latest,
        pending=tuple(file.label for file in files if file.version not in checksums),
        changed=tuple(
            file.label
            for file in files
            if checksums.get(file.version, file.checksum) != file.checksum
        ),
        unknown=tuple(row.label for row in had if migrations.find(row.version) is None),
    )
