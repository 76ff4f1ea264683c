"""Every migration of the shop leads back where it came from, and what they make is sound."""

import pytest

from bulkhead.apps.commerce.application import APPLICATION
from bulkhead.apps.commerce.topology import TOPOLOGY
from bulkhead.engine.drivers.protocol import DatabaseSpec, Login
from bulkhead.engine.migrations.apply import apply
from bulkhead.engine.migrations.verify import prove
from bulkhead.engine.schema.lint.findings import lint
from bulkhead.engine.schema.lint.rules import Level
from bulkhead.engine.system import migration_sets
from bulkhead.engine.testing import TestServers

NAMES = [database.name for database in TOPOLOGY.databases]


@pytest.mark.parametrize("name", NAMES)
async def test_each_migration_can_be_taken_back_and_leaves_nothing_to_complain_of(
    servers: TestServers, name: str
) -> None:
    database = TOPOLOGY.database(name)
    driver = await servers.driver("shared")
    spec = DatabaseSpec(f"proof_{name}", extensions=database.extensions)
    await driver.ensure_database(spec)
    connection = await driver.connect(spec, Login.ADMIN, timeout_s=10)
    try:
        *before, migrations = migration_sets(APPLICATION, name)
        await apply(connection, spec, before)
        assert len(await prove(connection, spec, [migrations])) == migrations.latest
        findings = await lint(connection, None if name == "users" else database)
        errors = [finding.cache_key for finding in findings if finding.level is Level.ERROR]
        assert errors == []
    finally:
        await connection.close()
        await driver.drop_database(spec)
