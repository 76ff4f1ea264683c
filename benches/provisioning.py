"""From the request to a tenant that is served: how long, how many, and what each one takes.

A store's database with its logins, tables, policies, identity and mark, as the jobs make it: from
the pool of databases that are ready, from the template, and by statements, on the embedded
PostgreSQL (durable, as in life) and on MariaDB. Against django-tenants, which makes a schema with
the same tables, and no login, in one database of the same server, and against CREATE DATABASE from
the same template, which is the floor of what makes a database. All in turn, so that what else the
machine does weighs the same on each. Then many tenants: how fast, and what each takes on disk and
of the catalogue; the server is left with a checkpoint that it never makes.

    python benches/provisioning.py [--rounds 20] [--tenants 200] [--jobs 4]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import secrets
import sys
import tempfile
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path
from time import perf_counter
from typing import Any

import uvloop
from mariadb_server import find_mariadbd, run_mariadb
from shop import median, quantile_ms
from tenants import abandon

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
from bulkhead.engine.provisioning.spares import Spares
from bulkhead.engine.settings import Settings
from bulkhead.engine.system import open_system
from bulkhead.engine.topology import Database, Table, Topology

Take = Callable[[], Awaitable[float]]
"""Makes one tenant and says how many seconds it took."""
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
CATALOGUE = "select count(*) from pg_class"
ROLES = "select count(*) from pg_roles where rolname like 'store\\_%' and rolcanlogin"


@dataclass(slots=True)
class Bench:
    """Provisioning with a worker that runs."""

    databases: Databases
    provisioning: Provisioning
    """Its own pools stay empty, so that nothing is made beside what is measured."""
    pool: Spares = field(init=False)

    def __post_init__(self) -> None:
        self.pool = Spares(self.databases, SCHEMA, warm=1)

    @property
    def registry(self) -> OpenDatabase:
        """Where the jobs are."""
        return self.databases.registry

    async def add_server(self, driver: Driver, source: str) -> None:
        """Let databases be made from a source, on a server of its own name."""
        kind = ServerKind(driver.dialect.value)
        name = f"{kind.value}-{source}"
        self.databases.drivers[name] = driver
        async with self.registry.transaction(SERVICE) as tx:
            entry = ServerEntry(name, kind, name, 100_000, labels=SOURCES[source])
            await add_server(tx, entry)

    async def take(self, kind: ServerKind, source: str) -> float:
        """Seconds from the request to a tenant that is served; the pool is filled before."""
        if source == "warm":
            server = await self.databases.server(f"{kind.value}-{source}")
            assert await self.pool._make(server, "warm")
        began_s = perf_counter()
        job = await self.provisioning.start(request(kind, SOURCES[source]))
        ended = await self.provisioning.wait(job.id)
        seconds = perf_counter() - began_s
        assert (ended.state, ended.source) == (JobState.ACTIVE, source), ended
        return seconds


def request(kind: ServerKind, labels: Mapping[str, str]) -> ProvisioningRequest:
    """A new store on a server with these labels."""
    return ProvisioningRequest(TenantId(new_id()), "store", "A store", kind, labels=labels)


async def main(rounds: int, tenants: int, jobs: int) -> None:
    """Run everything."""
    async with AsyncExitStack() as stack:
        registry = await stack.enter_async_context(open_registry())
        bench = await stack.enter_async_context(open_bench(registry, jobs))
        await compare_postgresql(bench, rounds)
        await compare_mariadb(bench, rounds)
        await make_many(bench, tenants)
        abandon(registry.driver)


async def compare_postgresql(bench: Bench, rounds: int) -> None:
    """Ours from each source, django-tenants, and a bare CREATE DATABASE, in turn."""
    driver = bench.registry.driver
    for source in SOURCES:
        await bench.add_server(driver, source)
    async with AsyncExitStack() as stack:
        takes: dict[str, Take] = {
            source: partial(bench.take, ServerKind.POSTGRESQL, source) for source in SOURCES
        }
        await takes["template"]()  # It makes the template.
        takes["create database"] = await stack.enter_async_context(bare(bench))
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="bulkhead-bench-"))
        await prepare_django(bench.registry, folder)
        for clone in (False, True):
            name = f"django-tenants, {'clone' if clone else 'migration'}"
            tenants = django_tenants(bench.registry, folder=folder, clone=clone)
            takes[name] = await stack.enter_async_context(tenants)
        print(f"PostgreSQL, request to served, {rounds} times each, in turn")
        times = await measure_in_turn(takes, rounds)
    django_s = median(times["django-tenants, migration"])
    for name, times_s in times.items():
        report(name, times_s, f"{django_s / median(times_s):5.1f} times as fast as migration")


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
            sources = ("warm", "statements")
            for source in sources:
                await bench.add_server(driver, source)
            takes: dict[str, Take] = {
                source: partial(bench.take, ServerKind.MYSQL, source) for source in sources
            }
            print(f"MariaDB, request to served, {rounds} times each, in turn")
            for name, times_s in (await measure_in_turn(takes, rounds)).items():
                report(name, times_s, "")


async def measure_in_turn(takes: Mapping[str, Take], rounds: int) -> dict[str, list[float]]:
    """The seconds of each, after one that does not count."""
    times: dict[str, list[float]] = {name: [] for name in takes}
    for take in takes.values():
        await take()
    for _ in range(rounds):
        for name, take in takes.items():
            times[name].append(await take())
    return times


@asynccontextmanager
async def bare(bench: Bench) -> AsyncIterator[Take]:
    """CREATE DATABASE from the same template and nothing else: the floor."""
    databases = bench.databases
    spares = bench.provisioning.shop.spares["store"]
    template = await spares.template(await databases.server("postgresql-template"))
    registry, numbers = bench.registry, count()
    connection = await registry.driver.connect(registry.spec, Login.ADMIN, timeout_s=10)

    async def take() -> float:
        began_s = perf_counter()
        sql = f"create database bare_{next(numbers)} template {template} strategy wal_log"
        await connection.execute(sql, timeout=120)
        return perf_counter() - began_s

    try:
        yield take
    finally:
        await connection.close()


async def prepare_django(registry: OpenDatabase, folder: str) -> None:
    """A project of django-tenants with the models of a store."""
    model = DatabaseSpec("django_model")
    await registry.driver.ensure_database(model)
    extracted = SCHEMA.extracted(Dialect.POSTGRESQL, client_roles=True)
    connection = await registry.driver.connect(model, Login.ADMIN, timeout_s=10)
    await connection.execute(";".join(extracted.statements))
    await connection.close()
    for turn in ("inspect", "migration"):
        process = await start_django(registry, model.name, folder=folder, turn=turn)
        await process.communicate()
        assert process.returncode == 0, "django-tenants failed"


@asynccontextmanager
async def django_tenants(
    registry: OpenDatabase, *, folder: str, clone: bool
) -> AsyncIterator[Take]:
    """Tenants by django-tenants on the same server, in a process of its own."""
    name = f"django_{'clones' if clone else 'migrations'}"
    await registry.driver.ensure_database(DatabaseSpec(name))
    process = await start_django(registry, name, folder=folder, turn="tenants", clone=clone)
    assert process.stdin is not None, "it was asked for"
    assert process.stdout is not None, "it was asked for"
    tell, told = process.stdin, process.stdout

    async def take() -> float:
        tell.write(b"\n")
        return float(await told.readline())

    yield take
    tell.close()
    await process.wait()


async def start_django(registry: OpenDatabase, database: str, **given: Any) -> Process:  # noqa: ANN401
    """The process, which is told where the server is."""
    driver: Any = registry.driver
    endpoint = driver._driver.endpoint  # noqa: SLF001
    place = {name: getattr(endpoint, name) for name in ("host", "port", "user", "password")}
    return await asyncio.create_subprocess_exec(
        sys.executable,
        str(Path(__file__).with_name("tenants_django.py")),
        json.dumps({"name": database, "clone": False, "prefix": "tenant", **place, **given}),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )


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


def report(name: str, times_s: list[float], remark: str) -> None:
    """One line of the table."""
    p50, p95 = quantile_ms(times_s, 0.5), quantile_ms(times_s, 0.95)
    least = min(times_s) * 1000
    print(
        f"{name:26}  min {least:7.1f} ms   p50 {p50:7.1f} ms   p95 {p95:7.1f} ms   {remark}",
        flush=True,
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--tenants", type=int, default=200)
    parser.add_argument("--jobs", type=int, default=4)
    arguments = parser.parse_args()
    uvloop.run(main(arguments.rounds, arguments.tenants, arguments.jobs))
