"""Let provisioning note the migrations of a fleet, so that they can go on from there."""

from bulkhead.engine.fleet.migrate_tenant import FleetMigrations, note_versions
from bulkhead.engine.provisioning.schema import Migrate, MigrationCall


def note_with(migrations: FleetMigrations) -> Migrate:
    """For `FleetSchema.migrate`: the tables are as they are declared, so that nothing has to run.

    The steps before it have made what was missing and refused what differs.
    """

    async def migrate(call: MigrationCall) -> None:
        await note_versions(call.connection, call.spec, migrations)

    return migrate
