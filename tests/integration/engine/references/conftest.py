"""The shop over fresh databases for each test, cloned from templates."""

import shutil
import tempfile
from collections.abc import AsyncIterator
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest
from tests.integration.engine.references.shop_application import TOPOLOGY

from bulkhead.engine.connections.router import Placement, Router
from bulkhead.engine.drivers.embedded import EmbeddedDriver
from bulkhead.engine.drivers.protocol import DatabaseSpec, Login
from bulkhead.engine.migrations.files import parse_migration
from bulkhead.engine.topology import Topology

ENGINE = Path(__file__).parents[4] / "src/bulkhead/engine/migrations/engine"

numbers = count(1)


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
        await driver.seal_template(spec)
    yield driver
    await driver.stop()
    shutil.rmtree(home, ignore_errors=True)


@pytest.fixture
async def router(server: EmbeddedDriver) -> AsyncIterator[Router]:
    placements = []
    for database in TOPOLOGY.databases:
        template = DatabaseSpec(f"shop_{database.name}")
        spec = replace(
            template,
            name=f"t{next(numbers)}_{database.name}",
            template=template.name,
            role_prefix=template.name,
        )
        await server.ensure_database(spec)
        placements.append(Placement(database.name, server, spec))
    router = Router("shop", tuple(placements))
    yield router
    await router.close()
    for placement in placements:
        await server.drop_database(placement.spec)


@pytest.fixture
def topology() -> Topology:
    return TOPOLOGY
