"""Compare a database with its files, and prove that each migration can be taken back."""

from collections.abc import Sequence

from bulkhead.engine.drivers.protocol import DatabaseSpec
from bulkhead.engine.errors import BulkheadError
from bulkhead.engine.migrations.apply import apply
from bulkhead.engine.migrations.files import MigrationSet
from bulkhead.engine.migrations.registry import Connection
from bulkhead.engine.migrations.rollback import roll_back
from bulkhead.engine.schema.diff import Difference, diff
from bulkhead.engine.schema.introspect import Snapshot, introspect


class MigrationUnproven(BulkheadError):
    """Migration {migration} does not hold: {reason}."""

    code = "migration_unproven"
    hint = "{differences}"


async def verify(
    connection: Connection,
    scratch: Connection,
    scratch_spec: DatabaseSpec,
    sets: Sequence[MigrationSet],
) -> tuple[Difference, ...]:
    """How the database of `connection` differs from one built now from `sets`.

    `scratch` is an administrator's connection to a database that `ensure_database` has just made
    and that the caller drops afterwards; the files are applied there. Nothing is changed in the
    database that is verified, and nothing is repaired.
    """
    await apply(scratch, scratch_spec, sets)
    return diff(await introspect(scratch), await introspect(connection))


async def prove(
    connection: Connection, spec: DatabaseSpec, sets: Sequence[MigrationSet]
) -> tuple[str, ...]:
    """Apply each migration, take it back and apply it again; return the files proven.

    Raises MigrationUnproven where the way down does not lead back to the same catalogue, or the
    way up does not lead to the same one twice. `connection` is to a database of its own with none
    of `sets` applied; afterwards it has them all.
    """
    proven = []
    await apply(connection, spec, ())
    for migrations in sets:
        before = await introspect(connection)
        for migration in migrations.migrations:
            namespace, version = migration.namespace, migration.version
            up = {namespace: version}
            await apply(connection, spec, [migrations], target=up)
            after = await introspect(connection)
            await roll_back(connection, spec, [migrations], {namespace: version - 1})
            _compare(migration.file, "down", before, await introspect(connection))
            await apply(connection, spec, [migrations], target=up)
            _compare(migration.file, "up again", after, await introspect(connection))
            before = after
            proven.append(migration.file)
    return tuple(proven)


def _compare(file: str, way: str, expected: Snapshot, found: Snapshot) -> None:
    differences = diff(expected, found)
    if differences:
        raise MigrationUnproven(
            migration=file,
            reason=f"after '{way}' the catalogue is another",
            differences="; ".join(str(difference) for difference in differences),
        )
