"""Move a tenant between two servers under writes: how long nobody can write, and what is lost.

A tenant with so many megabytes of rows moves from one durable embedded server to another by logical
replication, with writers that never stop; and back again by taking the move back. Each writer knows
which rows were acknowledged; afterwards every one of them has to be there.

    python benches/fleet_move.py [--megabytes 1000] [--writers 4]
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter

import uvloop

from bulkhead.engine.application import Application
from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.drivers.embedded import EmbeddedDriver
from bulkhead.engine.errors import BulkheadError
from bulkhead.engine.fleet.model import TenantId
from bulkhead.engine.fleet.move import Mover
from bulkhead.engine.fleet.registry import get_tenant
from bulkhead.engine.testing import TENANT_SCHEMA, TestFleet, TestServers
from bulkhead.engine.topology import Database, Topology

SCHEMA = (
    TENANT_SCHEMA
    + """
create table public.counted (id bigint generated always as identity primary key, word text);
grant all on all tables in schema public to service_role;
"""
)
ON = ("shared", "second")
ROWS_PER_MEGABYTE = 900
"""Of a kilobyte each, with what a row and its key take besides."""
CHUNK_MEGABYTES = 25


@dataclass(slots=True)
class Writers:
    """Write one row after another, and know what was acknowledged."""

    made: TestFleet
    tenant: TenantId
    written: list[int] = field(default_factory=list)
    gap_s: float = 0.0
    last_s: float = field(default_factory=perf_counter)
    refused: int = 0

    async def write(self) -> None:
        """Until cancelled."""
        while True:
            try:
                rows = await self.made.fleet.query(
                    self.tenant, "insert into counted (word) values ('w') returning id"
                )
            except BulkheadError:
                self.refused += 1
                await asyncio.sleep(0.002)
                continue
            now_s = perf_counter()
            self.gap_s, self.last_s = max(self.gap_s, now_s - self.last_s), now_s
            self.written.append(rows[0]["id"])

    async def count_lost(self) -> int:
        """Of the acknowledged rows, those that are not there."""
        rows = await self.made.fleet.query(self.tenant, "select id from counted")
        return len(set(self.written) - {row["id"] for row in rows})


async def main(megabytes: int, writers: int) -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory(prefix="bulkhead-bench-") as name:
        home = Path(name)
        home.chmod(0o755)
        (home / "master").mkdir()
        topology = Topology("bench", (Database("master", (), home / "master"),))
        servers = TestServers(home)
        for server in ON:
            driver = EmbeddedDriver(home / server)
            await driver.start()
            servers.drivers[server] = driver
        try:
            async with servers.system(Application("bench", "Bench", topology)) as system:
                registry = system.database("master")
                async with servers.fleet(registry, tenants=2, on=ON, schema=SCHEMA) as made:
                    await move(made, megabytes, writers)
        finally:
            await servers.stop()


async def move(made: TestFleet, megabytes: int, count: int) -> None:
    """There, back again, and there for good."""
    tenant = made.tenants[0]
    await fill(made, tenant, megabytes)
    writers = Writers(made, tenant)
    tasks = [asyncio.create_task(writers.write()) for _ in range(count)]
    try:
        await there_and_back(Mover(made.fleet), writers)
    finally:
        for task in tasks:
            task.cancel()
        for task in tasks:
            with suppress(asyncio.CancelledError):
                await task
    print(f"{len(writers.written)} rows written meanwhile, {await writers.count_lost()} lost")
    async with made.registry.transaction(SERVICE) as tx:
        made.servers[tenant] = (await get_tenant(tx, tenant)).place.server or ""
        await tx.execute("delete from bulkhead.fleet_moves")


async def there_and_back(mover: Mover, writers: Writers) -> None:
    """Measure each move, and its way back."""
    tenant = writers.tenant
    for turn in ("there", "there again"):
        began_s = perf_counter()
        writers.gap_s = 0.0
        await mover.start(tenant, server="second")
        done = await mover.run(tenant)
        assert done.report is not None
        rows = sum(table["rows"] for table in done.report.values())
        print(
            f"{turn}: {rows} rows in {perf_counter() - began_s:.1f} s, compared by hash;"
            f" fence {done.fence_ms:.0f} ms, longest time without a write"
            f" {writers.gap_s * 1000:.0f} ms"
        )
        await asyncio.sleep(1.0)
        if turn == "there":
            writers.gap_s = 0.0
            began_s = perf_counter()
            await mover.revert(tenant)
            await asyncio.sleep(0.5)
            print(
                f"taken back in {perf_counter() - began_s:.1f} s; longest time without a write"
                f" {writers.gap_s * 1000:.0f} ms"
            )
    await mover.confirm(tenant)


async def fill(made: TestFleet, tenant: TenantId, megabytes: int) -> None:
    """Rows of random text, which do not compress away."""
    began_s = perf_counter()
    async with made.administer(tenant) as admin:
        for _ in range(0, megabytes, CHUNK_MEGABYTES):
            await admin.execute(
                "insert into notes (owner, body) select gen_random_uuid(), string_agg("
                "md5(random()::text || n || k), '') from generate_series(1, $1::int) n,"
                " generate_series(1, 30) k group by n",
                min(CHUNK_MEGABYTES, megabytes) * ROWS_PER_MEGABYTE,
            )
        size = await admin.fetchval("select pg_database_size(current_database())")
    print(f"filled with {size / 1e6:.0f} MB in {perf_counter() - began_s:.1f} s")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=1000)
    parser.add_argument("--writers", type=int, default=4)
    arguments = parser.parse_args()
    uvloop.run(main(arguments.megabytes, arguments.writers))
