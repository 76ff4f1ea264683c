"""Access to the master, tried out: every table x actor x verb x column, then guards broken."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.integration.apps.store_platform.probe_samples import MASTER as SAMPLES
from tests.scenarios.effort import THOROUGH

from bulkhead.apps.store_platform.application import APPLICATION
from bulkhead.apps.store_platform.topology import MASTER
from bulkhead.engine.drivers.protocol import DatabaseSpec, Login
from bulkhead.engine.migrations.apply import apply
from bulkhead.engine.migrations.verify import prove
from bulkhead.engine.schema.lint.findings import lint
from bulkhead.engine.schema.lint.rules import Level
from bulkhead.engine.schema.probes.mutants import run_mutants
from bulkhead.engine.schema.probes.run import probe_database
from bulkhead.engine.system import migration_sets
from bulkhead.engine.testing import TestServers

ONE_OF = 1 if THOROUGH else 3
"""How many guards share an attempt to break one."""


@pytest.fixture(scope="module")
async def probed(servers: TestServers) -> AsyncIterator[Any]:
    driver = await servers.driver("shared")
    spec = DatabaseSpec("probed_master")
    await driver.ensure_database(spec)
    connection = await driver.connect(spec, Login.ADMIN, timeout_s=10)
    await apply(connection, spec, migration_sets(APPLICATION, "master"))
    yield connection
    await connection.close()
    await driver.drop_database(spec)


async def test_nobody_gets_further_and_nobody_less_far_than_declared(probed: Any) -> None:
    report = await probe_database(probed, MASTER, SAMPLES)
    assert [str(result) for result in report.failures] == []
    assert len(report.results) > 500


async def test_every_broken_guard_is_noticed(probed: Any) -> None:
    report = await run_mutants(probed, MASTER, SAMPLES, one_of=ONE_OF)
    assert [str(mutant) for mutant in report.survivors] == []
    assert len(report.results) > 50 / ONE_OF


async def test_each_migration_can_be_taken_back_and_leaves_nothing_to_complain_of(
    servers: TestServers,
) -> None:
    driver = await servers.driver("shared")
    spec = DatabaseSpec("proof_master")
    await driver.ensure_database(spec)
    connection = await driver.connect(spec, Login.ADMIN, timeout_s=10)
    try:
        *before, migrations = migration_sets(APPLICATION, "master")
        await apply(connection, spec, before)
        assert len(await prove(connection, spec, [migrations])) == migrations.latest
        findings = await lint(connection, None)
        errors = [finding.cache_key for finding in findings if finding.level is Level.ERROR]
        assert errors == []
    finally:
        await connection.close()
        await driver.drop_database(spec)
