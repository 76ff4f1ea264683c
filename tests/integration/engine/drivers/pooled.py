"""Applications whose transactions go through a PgBouncer."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from pgbouncer_server import PgbouncerServer

from bulkhead.engine.connections.router import Placement
from bulkhead.engine.drivers.embedded import EmbeddedDriver
from bulkhead.engine.drivers.endpoint import Endpoint
from bulkhead.engine.drivers.postgres import PostgresDriver
from bulkhead.engine.settings import Settings
from bulkhead.engine.system import System, build_system
from bulkhead.engine.testing import TestServers


async def upstream(servers: TestServers, name: str = "shared") -> Endpoint:
    """A test server as its superuser reaches it."""
    return (await servers.driver(name))._driver.endpoint


def pooled_driver(embedded: EmbeddedDriver, pooler: Endpoint | None) -> PostgresDriver:
    """A driver of the same server, with the same logins, through the pooler."""
    inner = embedded._driver
    return PostgresDriver(inner.endpoint, inner._secret, pooler=pooler)


@asynccontextmanager
async def through(
    pgbouncer: PgbouncerServer, system: System, settings: Settings | None = None
) -> AsyncIterator[System]:
    """Another process over the databases of `system`, behind the pooler."""
    placements = []
    for placement in system.router.placements:
        embedded = placement.driver
        assert isinstance(embedded, EmbeddedDriver)
        driver = pooled_driver(embedded, pgbouncer.endpoint())
        placements.append(Placement(placement.database, driver, placement.spec))
    other = build_system(system.application, settings or system.settings, placements)
    try:
        yield other
    finally:
        await other.close()
