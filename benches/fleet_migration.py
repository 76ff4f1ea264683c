"""What it takes to migrate a fleet: with nothing to do, and for real; against django-tenants.

The registry knows who is behind, so that a run without work asks one question, whatever the size of
the fleet; django-tenants visits every schema. A real migration adds a column, a table with rows and
an index to each tenant; the floor is a connection to each that is sent the same statements in one
message. All work on one server, ours on a database for each tenant, django-tenants on a schema for
each; it has fewer of them, because each takes long, and its figures are scaled up.

    python benches/fleet_migration.py [--tenants 1000] [--django 40] [--parallel 4]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

import uvloop
from tenants import abandon, filled

from bulkhead.engine.application import Application
from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.connections.sql import identifier, literal
from bulkhead.engine.drivers.embedded import EmbeddedDriver
from bulkhead.engine.drivers.protocol import DatabaseSpec, Dialect
from bulkhead.engine.errors import BulkheadError
from bulkhead.engine.fleet.migrate import FleetMigrator, RollOut
from bulkhead.engine.fleet.migrate_tenant import FleetMigrations
from bulkhead.engine.fleet.model import TenantId
from bulkhead.engine.fleet.registry import set_schema
from bulkhead.engine.migrations.files import build_set, parse_migration
from bulkhead.engine.migrations.registry import QUERIES
from bulkhead.engine.testing import TENANT_SCHEMA, TestFleet, TestServers
from bulkhead.engine.topology import Database, Topology

FILES = (
    f"{TENANT_SCHEMA}\n-- migrate:down\ndrop table public.notes; drop table public._identity;\n",
    """
    alter table public.notes add column color text not null default 'red';
    create table public.tags (id integer primary key, name text not null unique);
    insert into public.tags values (1, 'first'), (2, 'second');
    create index notes_color on public.notes (color);
    -- migrate:down
    drop index public.notes_color;
    drop table public.tags;
    alter table public.notes drop column color;
    """,
)


FLOOR_TENANTS = 200


def migrations(versions: int) -> FleetMigrations:
    """The first so many of them."""
    files = [
        parse_migration("test", f"{number:04}_step.sql", text)
        for number, text in enumerate(FILES[:versions], start=1)
    ]
    return FleetMigrations("test", {Dialect.POSTGRESQL: build_set("test", files)})


def noted_schema() -> str:
    """What provisioning makes: the tables, and the note of the migration that they come from."""
    [first] = migrations(1).sets[Dialect.POSTGRESQL].migrations
    values = (first.namespace, first.version, first.name, first.checksum, first.up, first.down, 0)
    return (
        f"{TENANT_SCHEMA};{QUERIES.create_registry};insert into bulkhead.migrations"
        " (namespace, version, name, checksum, up_sql, down_sql, duration_ms)"
        f" values ({', '.join(literal(str(value)) for value in values)})"
    )


async def main(tenants: int, django: int, parallel: int) -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory(prefix="bulkhead-bench-") as name:
        home = Path(name)
        home.chmod(0o755)
        (home / "master").mkdir()
        topology = Topology("bench", (Database("master", (), home / "master"),))
        servers = TestServers(home)
        driver = EmbeddedDriver(home / "shared")
        await driver.start()
        servers.drivers["shared"] = driver
        ended = False
        try:
            async with servers.system(Application("bench", "Bench", topology)) as system:
                registry = system.database("master")
                async with (
                    servers.fleet(registry, tenants=0, schema=noted_schema()) as made,
                    filled(made, tenants),
                ):
                    ours = await measure_ours(made, parallel)
                    if django:
                        await compare_django(driver, django, ours)
                    ended = True
                    abandon(driver)
        except BulkheadError:
            if not ended:
                raise  # Else the server is gone, as it shall be.
        finally:
            abandon(driver)
            await servers.stop()


async def measure_ours(made: TestFleet, parallel: int) -> tuple[float, float]:
    """Seconds for a run without work, and for each tenant of a real one."""
    async with made.registry.transaction(SERVICE) as tx:
        for tenant in made.tenants:
            await set_schema(tx, tenant, 1, None)
    tenants = len(made.tenants)
    idle = FleetMigrator(made.fleet.databases, migrations(1), "bench")
    times_s = []
    for _ in range(20):
        began_s = perf_counter()
        outcome = await idle.apply()
        times_s.append(perf_counter() - began_s)
        assert outcome.total == 0
    idle_s = sorted(times_s)[len(times_s) // 2]
    print(f"nothing to do: {idle_s * 1000:.1f} ms (one query; p50 of {len(times_s)})")
    busy = FleetMigrator(made.fleet.databases, migrations(2), "bench")
    options = RollOut(parallel=parallel)
    began_s = perf_counter()
    outcome = await busy.apply(options)
    up_s = perf_counter() - began_s
    assert outcome.done == tenants, outcome
    print(f"up: {tenants} in {up_s:.1f} s, {tenants / up_s:.1f} databases a second")
    began_s = perf_counter()
    outcome = await busy.roll_back(1, options)
    down_s = perf_counter() - began_s
    assert outcome.done == tenants, outcome
    print(f"down: {tenants} in {down_s:.1f} s, {tenants / down_s:.1f} databases a second")
    some = made.tenants[:FLOOR_TENANTS]
    each_s = await measure_floor(made, some, parallel)
    print(
        f"floor: {1 / each_s:.1f} databases a second, of {len(some)};"
        f" ours takes {up_s / tenants / each_s:.2f} times as long"
    )
    return idle_s / tenants, up_s / tenants


async def measure_floor(made: TestFleet, tenants: Sequence[TenantId], parallel: int) -> float:
    """Seconds for each tenant of connecting and sending the statements in one message."""
    hands = asyncio.Semaphore(parallel)
    statements = FILES[1].split("-- migrate:down")[0]

    async def change(tenant: TenantId) -> None:
        async with hands, made.administer(tenant) as admin:
            owner = identifier(made.specs[tenant].owner)
            await admin.execute(f"set local role {owner};{statements}")

    began_s = perf_counter()
    async with asyncio.TaskGroup() as group:
        for tenant in tenants:
            group.create_task(change(tenant))
    return (perf_counter() - began_s) / len(tenants)


async def compare_django(driver: Any, tenants: int, ours: Sequence[float]) -> None:  # noqa: ANN401
    """The same by django-tenants' loop over schemas, on the same server."""
    spec = DatabaseSpec("django_migrations")
    await driver.ensure_database(spec)
    endpoint = driver._driver.endpoint  # noqa: SLF001
    place = {name: getattr(endpoint, name) for name in ("host", "port", "user", "password")}
    with tempfile.TemporaryDirectory(prefix="bulkhead-bench-") as folder:
        for turn in ("make", "idle", "up"):
            given = {"turn": turn, "tenants": tenants, "folder": folder, "name": spec.name}
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                str(Path(__file__).with_name("fleet_migration_django.py")),
                json.dumps({**place, **given}),
                stdout=asyncio.subprocess.PIPE,
            )
            told, _ = await process.communicate()
            assert process.returncode == 0, "django-tenants failed"
            each_s = float(told.split()[-1]) / tenants
            if turn == "make":
                continue
            ratio = each_s / ours[turn == "up"]
            what = "nothing to do" if turn == "idle" else "up"
            print(
                f"django-tenants, {what}: {each_s * 1000:.0f} ms for each of {tenants} schemas,"
                f" {1 / each_s:.1f} a second; ours is {ratio:,.1f} times as fast"
            )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tenants", type=int, default=1000)
    parser.add_argument("--django", type=int, default=40)
    parser.add_argument("--parallel", type=int, default=4)
    arguments = parser.parse_args()
    uvloop.run(main(arguments.tenants, arguments.django, arguments.parallel))
