"""The shop's access, tried out: every table x actor x verb x column, then guards broken."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.integration.apps.commerce.probe_samples import SAMPLES
from tests.scenarios.effort import THOROUGH

from bulkhead.apps.commerce.application import APPLICATION
from bulkhead.apps.commerce.topology import TOPOLOGY
from bulkhead.engine.drivers.protocol import DatabaseSpec, Login
from bulkhead.engine.migrations.apply import apply
from bulkhead.engine.schema.probes.mutants import run_mutants
from bulkhead.engine.schema.probes.run import probe_database
from bulkhead.engine.system import migration_sets
from bulkhead.engine.testing import TestServers

ONE_OF = 1 if THOROUGH else 3
"""How many guards share an attempt to break one: all of them take half a minute."""
NAMES = [database.name for database in TOPOLOGY.databases]


@pytest.fixture(params=NAMES, scope="module")
async def probed(
    servers: TestServers, request: pytest.FixtureRequest
) -> AsyncIterator[tuple[str, Any]]:
    name: str = request.param
    database = TOPOLOGY.database(name)
    driver = await servers.driver("shared")
    spec = DatabaseSpec(f"probed_{name}", extensions=database.extensions)
    await driver.ensure_database(spec)
    connection = await driver.connect(spec, Login.ADMIN, timeout_s=10)
    await apply(connection, spec, migration_sets(APPLICATION, name))
    yield name, connection
    await connection.close()
    await driver.drop_database(spec)


async def test_nobody_gets_further_and_nobody_less_far_than_declared(
    probed: tuple[str, Any],
) -> None:
    name, connection = probed
    report = await probe_database(connection, TOPOLOGY.database(name), SAMPLES[name])
    assert [str(result) for result in report.failures] == []
    assert len(report.results) > 1_000


async def test_every_broken_guard_is_noticed(probed: tuple[str, Any]) -> None:
    name, connection = probed
    report = await run_mutants(connection, TOPOLOGY.database(name), SAMPLES[name], one_of=ONE_OF)
    assert [str(mutant) for mutant in report.survivors] == []
    assert len(report.results) > 100 / ONE_OF
