"""What the gateway keeps of a database: how long it takes to read, and how much memory it takes.

Databases of 300 tables, each with ten columns, a foreign key, an index and two policies. Reading
the schema is compared with its queries alone, in turn, on the same connection. Memory is counted
in this process, which reads the schema of each database and then all connections of a pool.

    python benches/gateway_schema.py [--tables 300] [--databases 4] [--rounds 9]
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from itertools import pairwise
from pathlib import Path
from time import perf_counter

import psutil
import uvloop
from shop import median

from bulkhead.engine.application import Application
from bulkhead.engine.connections.admin import administer
from bulkhead.engine.connections.claims import ANON
from bulkhead.engine.connections.database import OpenDatabase
from bulkhead.engine.connections.transaction import Transaction
from bulkhead.engine.settings import Settings
from bulkhead.engine.system import open_system
from bulkhead.engine.topology import Database, Table, Topology
from bulkhead.gateway.rest.config import RestConfig
from bulkhead.gateway.rest.schema_cache import SchemaCache
from bulkhead.gateway.rest.schema_load import QUERIES, SEARCH_PATH, load_fingerprint, load_schema

POOL_SIZE = 10
CONFIG = RestConfig()
SCHEMAS = list(CONFIG.schemas)
PATH = [*SCHEMAS, *CONFIG.extra_search_path]
TABLE = """
create table public.{d}_t{n} (
  id uuid primary key default gen_random_uuid(),
  parent_id uuid references public.{d}_t{parent} (id),
  user_id uuid not null,
  name text not null check (char_length(name) <= 200),
  state text not null default 'new' check (state in ('new', 'old')),
  amount numeric(12, 2) not null default 0,
  details jsonb,
  tags text[] not null default '{{}}',
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);
create index {d}_t{n}_parent on public.{d}_t{n} (parent_id);
alter table public.{d}_t{n} enable row level security;
alter table public.{d}_t{n} force row level security;
create policy read_own on public.{d}_t{n} for select to authenticated
  using (user_id = (select auth.uid()));
create policy write_own on public.{d}_t{n} for insert to authenticated
  with check (user_id = (select auth.uid()));
grant select, insert on public.{d}_t{n} to authenticated;
"""


async def main(tables: int, databases: int, rounds: int) -> None:
    """Make the databases, measure, print."""
    with tempfile.TemporaryDirectory(prefix="bulkhead-bench-") as folder:
        Path(folder).chmod(0o755)
        settings = Settings(
            home=Path(folder) / "home",
            pool_size=POOL_SIZE,
            server_connections=databases * (POOL_SIZE + 4),
        )
        application = declare(Path(folder), tables, databases)
        async with open_system(application, settings) as system:
            opened = list(system.router)
            await measure_time(opened[0], tables, rounds)
            await measure_memory(opened, tables)


def declare(folder: Path, tables: int, databases: int) -> Application:
    """The application; all of its databases are made by the same migration."""
    declared = []
    for number in range(databases):
        name = f"d{number}"
        migrations = folder / name
        migrations.mkdir()
        made = [TABLE.format(d=name, n=n, parent=max(n - 1, 0)) for n in range(tables)]
        dropped = [f"drop table public.{name}_t{n};" for n in reversed(range(tables))]
        text = "".join(["-- Tables.", *made, "\n-- migrate:down\n", "\n".join(dropped)])
        (migrations / "0001_tables.sql").write_text(text)
        named = tuple(Table(f"{name}_t{n}", owner="user_id") for n in range(tables))
        declared.append(Database(name, named, migrations))
    return Application("wide", "Wide", Topology("wide", tuple(declared)))


async def measure_time(database: OpenDatabase, tables: int, rounds: int) -> None:
    """Print how long the schema takes to read, against the queries alone."""
    zones: frozenset[str] = frozenset()

    async def load(tx: Transaction) -> None:
        await load_schema(tx, CONFIG, 1, zones)

    async def load_first(tx: Transaction) -> None:
        await load_schema(tx, CONFIG, 1, None)

    works: dict[str, Callable[[Transaction], Awaitable[object]]] = {
        "its queries alone": query,
        "reading it again": load,
        "reading it for the first time": load_first,
        "seeing that it is unchanged": load_fingerprint,
    }
    times: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds + 1):
        for name, work in works.items():
            async with database.transaction(ANON, read_only=True) as tx:
                started = perf_counter()
                await work(tx)
                times[name].append(perf_counter() - started)
    base = median(times["its queries alone"][1:])
    print(f"the schema of {tables} tables")
    for name, each in times.items():
        took = median(each[1:])
        print(f"  {name:32}{took * 1000:8.1f} ms   {took / base:5.2f} of the queries alone")


async def query(tx: Transaction) -> None:
    """Fetch what the schema is made from, and make nothing of it."""
    await tx.execute(SEARCH_PATH)
    await tx.fetch(QUERIES.constraints)
    await tx.fetch(QUERIES.view_origins, PATH)
    await tx.fetch(QUERIES.tables, SCHEMAS)
    await tx.fetch(QUERIES.columns, SCHEMAS)
    await tx.fetch(QUERIES.computed, PATH)
    await tx.fetch(QUERIES.role_settings)
    await tx.fetch(QUERIES.functions, SCHEMAS, True)  # noqa: FBT003 - of everybody
    await tx.fetch(QUERIES.representations)
    await tx.fetch(QUERIES.media_handlers, SCHEMAS)


async def measure_memory(opened: list[OpenDatabase], tables: int) -> None:
    """Print what a database takes: its schema, then the connections of one of its pools."""
    sizes = [used_mib()]
    caches = [SchemaCache(database, CONFIG) for database in opened]
    for cache in caches:
        await cache.current()
    sizes.append(used_mib())
    for database in opened:
        async with asyncio.TaskGroup() as group:
            barrier = asyncio.Barrier(POOL_SIZE)
            for _ in range(POOL_SIZE):
                group.create_task(hold(database, barrier))
    sizes.append(used_mib())
    schema, pool = ((b - a) / len(opened) for a, b in pairwise(sizes))
    print(f"memory of one of {len(opened)} databases of {tables} tables")
    print(f"  schema                          {schema:8.2f} MiB")
    print(f"  {POOL_SIZE} connections, here            {pool:8.2f} MiB")
    backends = [size async for size in backend_sizes(opened[0])]
    print(f"  {len(backends)} connections, in PostgreSQL    {sum(backends):8.2f} MiB PSS")


async def hold(database: OpenDatabase, barrier: asyncio.Barrier) -> None:
    """Take a connection and keep it until all are taken."""
    async with database.transaction(ANON, read_only=True) as tx:
        await tx.fetchval("select count(*) from pg_class")
        await barrier.wait()


async def backend_sizes(database: OpenDatabase) -> AsyncIterator[float]:
    """The memory of each connection to a database, on the server's side."""
    async with administer(database) as connection:
        rows = await connection.fetch(
            "select pid from pg_stat_activity where datname = current_database()"
            " and pid <> pg_backend_pid() and backend_type = 'client backend'"
        )
    for row in rows:
        yield psutil.Process(row["pid"]).memory_full_info().pss / 2**20


def used_mib() -> float:
    """What this process alone takes, after what is no longer needed has been let go."""
    gc.collect()
    return float(psutil.Process().memory_full_info().uss) / 2**20


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tables", type=int, default=300)
    parser.add_argument("--databases", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    uvloop.run(main(options.tables, options.databases, options.rounds))
