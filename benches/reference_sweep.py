"""How fast a sweep compares five million references, beside a plain merge of both key lists.

    python benches/reference_sweep.py [rows]

The baseline streams both sides in key order through server-side cursors and merges them in Python,
which is what one would write first. Both run over the same embedded server, alternately.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median
from typing import Any

import psutil

from bulkhead.engine.application import Application
from bulkhead.engine.clock import monotonic_s
from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.connections.transaction import Transaction
from bulkhead.engine.drivers.protocol import Login
from bulkhead.engine.references.sweep import sweep_reference
from bulkhead.engine.system import System
from bulkhead.engine.testing import open_test_servers
from bulkhead.engine.topology import Database, Reference, Table, Topology

ROWS = 5_000_000
ROUNDS = 3
PAGE = 20_000

TABLES = {
    "catalog": "create table public.products (id uuid primary key);\n",
    "sales": (
        "create table public.lines (id bigint primary key, product_id uuid);\n"
        "create table public.bare_lines (id bigint primary key, product_id uuid);\n"
    ),
}
INDEXED = Reference.declare("sales.lines.product_id", to="catalog.products.id")
BARE = Reference.declare("sales.bare_lines.product_id", to="catalog.products.id")


async def main(rows: int) -> None:
    """Fill two databases, run both ways in turn, print the ratio."""
    process = psutil.Process(os.getpid())
    async with opened() as system:
        orphans = await fill(system, rows)
        resting_mb = process.memory_info().rss / 2**20
        print(f"{rows} references to {rows} targets, {orphans} orphans, {ROUNDS} rounds")
        for reference in (INDEXED, BARE):
            await compare(system, reference, rows, orphans)
        peak_mb = process.memory_info().rss / 2**20
        print(f"memory of the client: {resting_mb:.0f} MB at rest, {peak_mb:.0f} MB afterwards")


async def compare(system: System, reference: Reference, rows: int, orphans: int) -> None:
    """Print how long both ways take, alternately."""
    merges, sweeps = [], []
    for _ in range(ROUNDS):
        merges.append(await timed(lambda: merge(system, reference.source.table), orphans))
        sweeps.append(await timed(lambda: sweep(system, reference), orphans))
    ratio = median(merges) / median(sweeps)
    index = "with an index" if reference is INDEXED else "without an index"
    for name, seconds in (("merge", merges), ("sweep", sweeps)):
        middle_s = median(seconds)
        print(f"{name} {index}: {middle_s:.2f} s, {rows / middle_s / 1000:.0f} k rows/s")
    print(f"the sweep is {ratio:.2f} times as fast {index}")


async def timed(work: Callable[[], Awaitable[int]], expected: int) -> float:
    """Seconds that `work` takes; it must find as many orphans as there are."""
    began_s = monotonic_s()
    found = await work()
    assert found == expected, f"found {found} orphans of {expected}"
    return monotonic_s() - began_s


async def sweep(system: System, reference: Reference) -> int:
    """The engine's way."""
    topology = system.application.topology
    report = await sweep_reference(system.router, topology, reference, restart=True)
    assert report.complete
    return report.orphans


async def merge(system: System, table: str) -> int:
    """The plain way: two ordered cursors, one page in memory from each."""
    orphans = 0
    async with (
        system.database("sales").transaction(SERVICE, read_only=True) as source,
        system.database("catalog").transaction(SERVICE, read_only=True) as target,
    ):
        keys = f"select product_id from public.{table} order by product_id"
        wanted = await _cursor(source, keys)
        there = await _cursor(target, "select id from public.products order by id")
        page, position = [row[0] for row in await there.fetch(PAGE)], 0
        while rows := await wanted.fetch(PAGE):
            for row in rows:
                key = row[0]
                while page and page[position] < key:
                    position += 1
                    if position == len(page):
                        page, position = [row[0] for row in await there.fetch(PAGE)], 0
                if not page or page[position] != key:
                    orphans += 1
    return orphans


async def _cursor(tx: Transaction, sql: str) -> Any:  # noqa: ANN401
    """A cursor to be read in pages, which is faster than row by row."""
    return await tx._connection.cursor(sql)  # noqa: SLF001


async def fill(system: System, rows: int) -> int:
    """Random keys, one in 100,000 of which has no target."""
    orphans = len(range(0, rows, 100_000))
    keys = f"select md5(n::text)::uuid from generate_series(1, {rows - 1}) n where n % 100000 <> 0"
    lines = f"select n, md5(n::text)::uuid from generate_series(0, {rows - 1}) n"
    statements = {
        "catalog": [f"insert into public.products {keys}"],
        "sales": [
            f"insert into public.lines {lines}",
            "create index lines_product on public.lines (product_id)",
            "insert into public.bare_lines select id, product_id from public.lines",
        ],
    }
    for placement in system.router.placements:
        admin = await placement.driver.connect(placement.spec, Login.ADMIN, timeout_s=10)
        for statement in (*statements[placement.database], "vacuum analyze"):
            await admin.execute(statement, timeout=600)
        await admin.close()
    return orphans


@asynccontextmanager
async def opened() -> AsyncIterator[System]:
    """Two fresh databases on one embedded server."""
    with tempfile.TemporaryDirectory() as folder:
        databases = []
        for name, sql in TABLES.items():
            migrations = Path(folder) / name
            migrations.mkdir()
            text = f"-- The tables of this bench.\n{sql}-- migrate:down\nselect 1;\n"
            (migrations / "0001_tables.sql").write_text(text)
            tables = [Table(word.split("(")[0].strip()) for word in sql.split("public.")[1:]]
            databases.append(Database(name, tuple(tables), migrations))
        topology = Topology("bench", tuple(databases), (INDEXED, BARE))
        async with (
            open_test_servers() as servers,
            servers.system(Application("bench", "Bench", topology)) as system,
        ):
            yield system


if __name__ == "__main__":
    given: Any = sys.argv[1:]
    with asyncio.Runner() as runner:
        runner.run(main(int(given[0]) if given else ROWS))
