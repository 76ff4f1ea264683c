"""Provisioning where a real PgBouncer in transaction mode stands in front of the databases."""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from tests.integration.conftest import StartPgbouncer
from tests.integration.engine.drivers.pooled import pooled_driver, upstream
from tests.integration.engine.provisioning.tables import TABLES
from tests.integration.engine.provisioning.test_crashes import die
from tests.integration.engine.provisioning.workshop import LOOKOUT, Workshop, open_workshop

from bulkhead.engine.connections.database import OpenDatabase
from bulkhead.engine.fleet.model import ServerKind
from bulkhead.engine.provisioning.job import StepName
from bulkhead.engine.testing import TestServers


@pytest.fixture
async def pooled(
    registry: OpenDatabase, servers: TestServers, start_pgbouncer: StartPgbouncer
) -> AsyncIterator[Workshop]:
    """A fleet whose server is behind a pooler of its own."""
    embedded = await servers.driver("shared")
    pgbouncer = start_pgbouncer(embedded._driver.endpoint, default_pool_size=1)
    driver = pooled_driver(embedded, pgbouncer.endpoint())
    await driver.ensure_database(LOOKOUT)
    async with open_workshop(registry, ServerKind.POSTGRESQL, driver) as workshop:
        yield workshop
    await driver.drop_database(LOOKOUT)


async def test_databases_are_made_past_the_pooler_and_served_through_it(
    pooled: Workshop,
) -> None:
    for label in ("Bookshop", "Another"):
        job = await pooled.provision(pooled.request(label))
        await pooled.verify_served(job, label)


async def test_an_owners_database_is_connected_through_a_pooler(
    postgresql: Workshop, servers: TestServers, start_pgbouncer: StartPgbouncer
) -> None:
    pgbouncer = start_pgbouncer(await upstream(servers), default_pool_size=1)
    async with postgresql.owned() as config:
        behind = replace(config, port=pgbouncer.port, pooled=True)
        job = await postgresql.provision(postgresql.request(config=behind))
        await postgresql.verify_served(job)
        assert await postgresql.tables_of(behind) == sorted([*TABLES, "_provisioning"])


@pytest.mark.parametrize("place", ["tables", "migrate", "seed"])
async def test_a_connection_through_a_pooler_goes_on_after_a_death(
    postgresql: Workshop, servers: TestServers, start_pgbouncer: StartPgbouncer, place: str
) -> None:
    """And so it does where the pooler died as well."""
    pgbouncer = start_pgbouncer(await upstream(servers), default_pool_size=1)
    point = {
        "tables": "provisioning.tables:after_statement",
        "migrate": StepName.MIGRATE,
        "seed": StepName.SEED,
    }[place]
    async with postgresql.owned() as config:
        behind = replace(config, port=pgbouncer.port, pooled=True)
        job = await postgresql.provisioning.start(postgresql.request(config=behind))
        await die(postgresql, point if ":" in point else f"provisioning.{point}:after")
        pgbouncer.restart()
        await postgresql.verify_served(await postgresql.finish(job))


async def test_a_pooler_that_was_not_declared_is_told_at_once(
    postgresql: Workshop, servers: TestServers, start_pgbouncer: StartPgbouncer
) -> None:
    pgbouncer = start_pgbouncer(await upstream(servers))
    async with postgresql.owned() as config:
        behind = replace(config, port=pgbouncer.port)
        job = await postgresql.provision(postgresql.request(config=behind))
        await postgresql.verify_clean(job)
        assert job.error is not None
        assert job.error["code"] == "pooler_undeclared"
        assert "pooled" in job.error["hint"]
        assert job.step is StepName.OPEN
