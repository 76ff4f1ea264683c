"""The shop over databases that are emptied before each test."""

import shutil
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.integration.engine.references.shop_application import TOPOLOGY

from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.connections.database import OpenDatabase
from bulkhead.engine.connections.router import Placement, Router
from bulkhead.engine.drivers.embedded import EmbeddedDriver
from bulkhead.engine.drivers.protocol import DatabaseSpec, Login
from bulkhead.engine.messaging.outbox import Outbox
from bulkhead.engine.migrations.files import parse_migration
from bulkhead.engine.references.deletion import deletion_subscriptions
from bulkhead.engine.topology import Topology

ENGINE = Path(__file__).parents[4] / "src/bulkhead/engine/migrations/engine"


@pytest.fixture(scope="session")
async def server() -> AsyncIterator[EmbeddedDriver]:
    home = Path(tempfile.mkdtemp(prefix="bulkhead-"))
    home.chmod(0o755)  # noqa: ASYNC240
    driver = EmbeddedDriver(home, durable=False)
    await driver.start()
    for database in TOPOLOGY.databases:
        spec = DatabaseSpec(f"shop_{database.name}")
        await driver.ensure_database(spec)
        connection = await driver.connect(spec, Login.ADMIN, timeout_s=5)
        files = [*sorted(ENGINE.glob("*.sql")), *sorted(database.migrations.glob("*.sql"))]
        up = [parse_migration("engine", file.name, file.read_text()).up for file in files]
        async with connection.transaction():
            await connection.execute(f"set local role {spec.owner}")
            await connection.execute(";".join(up))
        await connection.close()
    yield driver
    await driver.stop()
    shutil.rmtree(home, ignore_errors=True)


@pytest.fixture
async def router(server: EmbeddedDriver) -> AsyncIterator[Router]:
    placements = [
        Placement(database.name, server, DatabaseSpec(f"shop_{database.name}"))
        for database in TOPOLOGY.databases
    ]
    outbox = Outbox("shop", deletion_subscriptions(TOPOLOGY))
    router = Router("shop", tuple(placements), events=outbox)
    for database in router:
        await empty(database)
    yield router
    await router.close()


async def empty(database: OpenDatabase) -> None:
    async with database.transaction(SERVICE) as tx:
        names = await tx.fetchval(
            "select string_agg(format('%I.%I', schemaname, tablename), ', ') from pg_tables"
            " where schemaname in ('public', 'bulkhead')"
        )
        await tx.execute(f"truncate {names}")


@pytest.fixture
def topology() -> Topology:
    return TOPOLOGY
