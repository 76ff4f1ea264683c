"""Put a fleet's schema and its migrations together, so that what is provisioned can go on."""

from pathlib import Path

import sqlalchemy as sa

from bulkhead.engine.drivers.protocol import Dialect
from bulkhead.engine.extract.model import Extracted
from bulkhead.engine.fleet.migrate_tenant import FleetMigrations, migrate_clone, note_versions
from bulkhead.engine.migrations.files import load_migrations
from bulkhead.engine.provisioning.schema import (
    FleetSchema,
    Migrate,
    MigrationCall,
    Seed,
    seed_nothing,
)


def declare_fleet(
    fleet: str, metadata: sa.MetaData, folder: Path, seed: Seed = seed_nothing
) -> tuple[FleetSchema, FleetMigrations]:
    """The schema of a fleet with its migrations, which stand in `folder` by dialect.

    `folder` has the folders `postgresql` and `mysql`, or one of them. Raises what `load_migrations`
    raises, and ConfigurationInvalid for dialects with different versions.
    """
    files = {
        dialect: load_migrations(fleet, folder / dialect.value, dialect=dialect)
        for dialect in Dialect
        if (folder / dialect.value).is_dir()
    }

    def expect(dialect: Dialect) -> Extracted:
        return schema.extracted(dialect, client_roles=True)

    migrations = FleetMigrations(fleet, files, expect)
    migrate = migrate_with(migrations)
    schema = FleetSchema(fleet, metadata, migrations.latest, seed, migrate)
    return schema, migrations


def migrate_with(migrations: FleetMigrations) -> Migrate:
    """For `FleetSchema.migrate`: what a clone lacks is run, everything else is noted only.

    Elsewhere the steps before it have made what was missing and refused what differs, so that the
    tables are as they are declared.
    """

    async def migrate(call: MigrationCall) -> None:
        if call.is_clone and call.spec is not None:
            await migrate_clone(call.connection, call.spec, migrations)
            return
        await note_versions(call.connection, call.spec, migrations)

    return migrate
