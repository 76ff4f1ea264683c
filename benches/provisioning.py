"""From the request to a tenant that is served: how long, how many, and what each one takes.

A store's database with its logins, tables, policies, identity and mark, as the jobs make it: from
the pool of databases that are ready, from the template, and by statements, on the embedded
PostgreSQL (durable, as in life) and on MariaDB. Against django-tenants, which makes a schema with
the same tables, and no login, in one database of the same server. Then many tenants: how fast, and
what each takes on disk and of the catalogue.

    python benches/provisioning.py [--rounds 30] [--tenants 1000] [--jobs 4]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import secrets
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import uvloop
from mariadb_server import find_mariadbd, run_mariadb
from shop import median, quantile_ms

from bulkhead.apps.store_platform.store.schema import METADATA
from bulkhead.engine.application import Application
from bulkhead.engine.connections.admin import administer
from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.connections.database import OpenDatabase
from bulkhead.engine.drivers.endpoint import Endpoint, Tls
from bulkhead.engine.drivers.mysql import MysqlDriver
from bulkhead.engine.drivers.protocol import DatabaseSpec, Dialect, Driver, Login
from bulkhead.engine.fleet.databases import Databases
from bulkhead.engine.fleet.model import ServerKind, TenantId
from bulkhead.engine.fleet.registry import ServerEntry, add_server
from bulkhead.engine.fleet.seals import Seals
from bulkhead.engine.ids import new_id
from bulkhead.engine.provisioning.job import JobState, ProvisioningRequest
from bulkhead.engine.provisioning.schema import FleetSchema
from bulkhead.engine.provisioning.service import (
    Provisioning,
    ProvisioningLimits,
    build_provisioning,
)
from bulkhead.engine.settings import Settings
from bulkhead.engine.system import open_system
from bulkhead.engine.topology import Database, Table, Topology

SCHEMA = FleetSchema("store", METADATA)
SOURCES: Mapping[str, Mapping[str, str]] = {
    "warm": {"from": "pool"},
    "template": {"from": "template"},
    "statements": {"from": "statements", "clone": "no"},
}
"""What databases are made from, and how the server is labelled that makes them so."""
OWNERS = """-- The only table of the registry's database.
create table public.owners (id uuid primary key);
alter table public.owners enable row level security;
alter table public.owners force row level security;

-- migrate:down
drop table public.owners;
"""
DISK = """
select count(*) as databases, coalesce(sum(pg_database_size(oid)), 0)::bigint as bytes
from pg_database
where datname like 'store\\_%' and datallowconn
"""
READY = """
select count(*) from bulkhead.fleet_spares
where server = $1 and purpose = 'warm' and state = 'ready'
"""
CATALOGUE = "select count(*) from pg_class"
ROLES = "select count(*) from pg_roles where rolname like 'store\\_%' and rolcanlogin"


@dataclass(slots=True)
class Bench:
    """Provisioning with a worker that runs."""

    databases: Databases
    provisioning: Provisioning

    @property
    def registry(self) -> OpenDatabase:
        """Where the jobs are."""
        return self.databases.registry

    async def wait_for_spare(self, server: str) -> None:
        """Return when a database is ready on the server."""
        while True:
            async with self.registry.transaction(SERVICE, read_only=True) as tx:
                if await tx.fetchval(READY, server):
                    return
            await self.provisioning.tend()
            await asyncio.sleep(0.01)

    async def time(self, driver: Driver, source: str, rounds: int, **labels: str) -> list[float]:
        """Seconds from the request to a tenant that is served, on a server so labelled."""
        kind = ServerKind(driver.dialect.value)
        name = f"{kind.value}-{source}"
        self.databases.drivers[name] = driver
        async with self.registry.transaction(SERVICE) as tx:
            await add_server(tx, ServerEntry(name, kind, name, 100_000, labels=labels))
        self.provisioning.shop.spares["store"].warm = int(source == "warm")
        times_s: list[float] = []
        for _ in range(rounds):
            if source == "warm":
                await self.wait_for_spare(name)
            began_s = perf_counter()
            job = await self.provisioning.start(request(kind, labels))
            ended = await self.provisioning.wait(job.id)
            times_s.append(perf_counter() - began_s)
            assert (ended.state, ended.source) == (JobState.ACTIVE, source), ended
        return times_s


def request(kind: ServerKind, labels: Mapping[str, str]) -> ProvisioningRequest:
    """A new store on a server with these labels."""
    return ProvisioningRequest(TenantId(new_id()), "store", "A store", kind, labels=labels)


async def main(rounds: int, tenants: int, jobs: int) -> None:
    """Run everything."""
    async with AsyncExitStack() as stack:
        registry = await stack.enter_async_context(open_registry())
        bench = await stack.enter_async_context(open_bench(registry, jobs))
        ours_s = await compare_postgresql(bench, rounds)
        await compare_mariadb(bench, rounds)
        await compare_django(registry, ours_s, rounds)
        await make_many(bench, tenants)


async def compare_postgresql(bench: Bench, rounds: int) -> float:
    """Each source on PostgreSQL; the median of the template in seconds."""
    print(f"request to served, {rounds} times each, one after another")
    medians = {}
    driver = bench.registry.driver
    for source, labels in SOURCES.items():
        await bench.time(driver, source, 1, **labels)
        times_s = await bench.time(driver, source, rounds, **labels)
        report(f"PostgreSQL, {source}", times_s)
        medians[source] = median(times_s)
    return medians["template"]


async def compare_mariadb(bench: Bench, rounds: int) -> None:
    """Each source on MariaDB."""
    if find_mariadbd() is None:
        print("MariaDB is not installed")
        return
    with tempfile.TemporaryDirectory(prefix="bulkhead-bench-") as folder:
        Path(folder).chmod(0o755)
        durable = "--innodb-flush-log-at-trx-commit=1"
        with run_mariadb(Path(folder) / "mariadb", None, durable) as server:
            endpoint = Endpoint("127.0.0.1", server.port, "root", server.password, "", Tls.DISABLE)
            driver = MysqlDriver(endpoint, secrets.token_bytes(32))
            for source in ("warm", "statements"):
                await bench.time(driver, source, 1, **SOURCES[source])
                times_s = await bench.time(driver, source, rounds, **SOURCES[source])
                report(f"MariaDB, {source}", times_s)


async def compare_django(registry: OpenDatabase, ours_s: float, rounds: int) -> None:
    """django-tenants on the same PostgreSQL, by migration and by its clones."""
    model = DatabaseSpec("django_model")
    await registry.driver.ensure_database(model)
    extracted = SCHEMA.extracted(Dialect.POSTGRESQL, client_roles=True)
    connection = await registry.driver.connect(model, Login.ADMIN, timeout_s=10)
    await connection.execute(";".join(extracted.statements))
    await connection.close()
    with tempfile.TemporaryDirectory(prefix="bulkhead-bench-") as folder:
        await run_django(registry, model.name, folder=folder, turn="inspect")
        await run_django(registry, model.name, folder=folder, turn="migration")
        for clone in (False, True):
            name = f"django_{'clones' if clone else 'migrations'}"
            await registry.driver.ensure_database(DatabaseSpec(name))
            times_s = await run_django(
                registry, name, folder=folder, turn="tenants", tenants=rounds, clone=clone
            )
            report("django-tenants, clone" if clone else "django-tenants, migration", times_s)
            print(f"    a template of ours is {median(times_s) / ours_s:.1f} times as fast")


async def run_django(registry: OpenDatabase, database: str, **given: Any) -> list[float]:  # noqa: ANN401
    """Seconds for each tenant, in a process of its own."""
    driver: Any = registry.driver
    endpoint = driver._driver.endpoint  # noqa: SLF001
    place = {name: getattr(endpoint, name) for name in ("host", "port", "user", "password")}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(Path(__file__).with_name("tenants_django.py")),
        json.dumps({"name": database, "clone": False, "prefix": "tenant", **place, **given}),
        stdout=asyncio.subprocess.PIPE,
    )
    told, _ = await process.communicate()
    assert process.returncode == 0, "django-tenants failed"
    times_s: list[float] = json.loads(told)
    return times_s


async def make_many(bench: Bench, tenants: int) -> None:
    """Many tenants, as fast as the worker makes them, and what they take."""
    before = await measure(bench)
    began_s = perf_counter()
    jobs = [
        await bench.provisioning.start(request(ServerKind.POSTGRESQL, SOURCES["template"]))
        for _ in range(tenants)
    ]
    for job in jobs:
        ended = await bench.provisioning.wait(job.id)
        assert ended.state is JobState.ACTIVE, ended
    seconds = perf_counter() - began_s
    after = await measure(bench)
    made = after["databases"] - before["databases"]
    size_mb = (after["bytes"] - before["bytes"]) / made / 1e6
    print(
        f"{tenants} tenants by cloning in {seconds:.1f} s: {tenants / seconds:.1f} a second; "
        f"each {size_mb:.2f} MB on disk, {after['relations']} rows of pg_class in its own "
        f"database, {(after['roles'] - before['roles']) / made:.1f} logins of the server"
    )


async def measure(bench: Bench) -> dict[str, int]:
    """Databases of tenants, their size, and what is in the catalogue of one."""
    connection = await bench.registry.driver.connect(bench.registry.spec, Login.ADMIN, timeout_s=10)
    try:
        row = await connection.fetchrow(DISK, timeout=120)
        roles = await connection.fetchval(ROLES)
        relations = await connection.fetchval(CATALOGUE)
    finally:
        await connection.close()
    return {**dict(row), "roles": roles, "relations": relations}


@asynccontextmanager
async def open_registry() -> AsyncIterator[OpenDatabase]:
    """An application that has a registry, on an embedded server."""
    with tempfile.TemporaryDirectory(prefix="bulkhead-bench-") as folder:
        Path(folder).chmod(0o755)
        migrations = Path(folder) / "master"
        migrations.mkdir()
        (migrations / "0001_owners.sql").write_text(OWNERS)
        database = Database("master", (Table("owners"),), migrations)
        application = Application("bench", "Bench", Topology("bench", (database,)))
        settings = Settings(home=Path(folder) / "home", pool_size=16)
        async with open_system(application, settings) as system:
            async with administer(system.database("master")) as connection:
                await connection.execute("select 1")
            yield system.database("master")


@asynccontextmanager
async def open_bench(registry: OpenDatabase, jobs: int) -> AsyncIterator[Bench]:
    """A worker for `jobs` at once."""
    databases = Databases(registry, Seals("bench.master"))
    limits = ProvisioningLimits(jobs_max=jobs, tend_s=1e6)
    provisioning = build_provisioning(databases, [SCHEMA], "bench", limits)
    worker = asyncio.create_task(provisioning.run())
    try:
        yield Bench(databases, provisioning)
    finally:
        worker.cancel()
        await asyncio.wait([worker])


def report(name: str, times_s: list[float]) -> None:
    """One line of the table."""
    p50, p95 = quantile_ms(times_s, 0.5), quantile_ms(times_s, 0.95)
    print(f"{name:28}  p50 {p50:8.1f} ms   p95 {p95:8.1f} ms", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--tenants", type=int, default=1000)
    parser.add_argument("--jobs", type=int, default=4)
    arguments = parser.parse_args()
    uvloop.run(main(arguments.rounds, arguments.tenants, arguments.jobs))
