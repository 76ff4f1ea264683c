"""What reaching a tenant's database through the fleet costs, and what a thousand tenants share.

Three questions. What is a routed read to the same statement on a bare asyncpg connection of the
same login: the aim is at most 1.3 times. What does the connection layer take of memory when many
tenants are queried at random over few connections. What do the healthy tenants notice while a
twentieth of all hang, each with callers that never give up: the aim is a p99 of 1.2 times.

    python benches/fleet_connections.py [--tenants 1000] [--connections 100] [--seconds 6]
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import random
import tempfile
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from time import perf_counter

import uvloop
from shop import median
from sqlalchemy import Column, MetaData, Numeric, Table, Text, Uuid, bindparam, insert, select
from tenants import filled

from bulkhead.engine.application import Application
from bulkhead.engine.drivers.protocol import Login
from bulkhead.engine.errors import BulkheadError
from bulkhead.engine.fleet.limits import FleetLimits, PoolLimits
from bulkhead.engine.fleet.model import TenantId
from bulkhead.engine.ids import new_id
from bulkhead.engine.testing import TestFleet, open_test_servers
from bulkhead.engine.topology import Database, Topology

NOTES = Table(
    "notes",
    MetaData(),
    Column("id", Uuid, primary_key=True),
    Column("owner", Uuid),
    Column("body", Text),
    Column("price", Numeric(12, 2)),
)
CORE = select(NOTES).where(NOTES.c.id == bindparam("id"))
PLAIN = "select id, owner, body, price from notes where id = $1"
Read = Callable[[TenantId, str, list[TenantId]], Awaitable[object]]

WORKERS = 16
HANGING = 20
"""One in so many tenants."""
SETTLE_S = 5.0
"""Until the hanging tenants have opened what they hang in: that alone takes a processor a while."""
ROUNDS = 40
NUMBER = 250


async def main(tenants: int, connections: int, seconds: float) -> None:
    """Measure and print."""
    limits = FleetLimits(statement_timeout_s=2.0, pool=PoolLimits(size_max=4))
    async with open_fleet(tenants, connections, limits) as made:
        await routed_read(made)
        await many_tenants(made, seconds)
        await hanging_tenants(made, seconds)


@asynccontextmanager
async def open_fleet(
    tenants: int, connections: int, limits: FleetLimits
) -> AsyncIterator[TestFleet]:
    """A fleet on one embedded server, registry and tenants; nothing is synced to disk."""
    with tempfile.TemporaryDirectory(prefix="bulkhead-bench-") as folder:
        topology = Topology("platform", (Database("master", (), Path(folder)),))
        application = Application("platform", "Platform", topology)
        async with open_test_servers() as servers, servers.system(application) as system:
            registry = system.database("master")
            async with (
                servers.fleet(registry, tenants=0, connections=connections, limits=limits) as made,
                filled(made, tenants),
            ):
                made.fleet.start()
                yield made


async def routed_read(made: TestFleet) -> None:
    """One row by its key: through the fleet, and on a connection that is simply held."""
    tenant = made.tenants[0]
    key = new_id()
    await made.fleet.execute(tenant, insert(NOTES), {"id": key, "owner": key, "body": "a" * 50})
    driver, spec = made.drivers[made.servers[tenant]], made.specs[tenant]
    bare = await driver.connect(spec, Login.SERVICE, timeout_s=10)
    await bare.execute("set role service_role")

    async def core() -> None:
        assert await made.fleet.query(tenant, CORE, {"id": key})

    async def plain() -> None:
        assert await made.fleet.query(tenant, PLAIN, [key])

    async def unbounded() -> None:
        assert await bare.fetch(PLAIN, key)

    async def bounded() -> None:
        assert await bare.fetch(PLAIN, key, timeout=10)

    works = {
        "bare, no time-out": unbounded,
        "bare, with a time-out": bounded,
        "routed, plain SQL": plain,
        "routed, Core statement": core,
    }
    times: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(ROUNDS):
        for name, work in works.items():
            times[name].append(await measure(work))
    await bare.close()
    base, same = median(times["bare, no time-out"]), median(times["bare, with a time-out"])
    print("\nOne row by its key: microseconds at the median, ratio to either bare connection")
    for name, each in times.items():
        middle = median(each)
        print(f"{name:30}{middle:10.0f}{middle / base:10.2f} x{middle / same:10.2f} x")


async def measure(work: Callable[[], Awaitable[None]]) -> float:
    """Microseconds of one call."""
    began_s = perf_counter()
    for _ in range(NUMBER):
        await work()
    return (perf_counter() - began_s) * 1e6 / NUMBER


async def many_tenants(made: TestFleet, seconds: float) -> None:
    """Reads at random; what is kept in memory once every tenant was asked; reads without a pool."""
    gc.collect()
    tracemalloc.start()
    for tenant in made.tenants:
        await made.fleet.query(tenant, PLAIN, [tenant])
    gc.collect()
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    times = await load(made.fleet.query, made.tenants, seconds)

    async def connect(tenant: TenantId, sql: str, args: list[TenantId]) -> None:
        driver, spec = made.drivers[made.servers[tenant]], made.specs[tenant]
        connection = await driver.connect(spec, Login.SERVICE, timeout_s=10)
        await connection.execute("set role service_role")
        await connection.fetch(sql, *args)
        await connection.close()

    bare = await load(connect, made.tenants, seconds)
    [(taken, _, limit)] = made.fleet.stats().servers.values()
    print(f"\n{len(made.tenants)} tenants at random, {WORKERS} callers, {taken} of {limit} places")
    print(f"{'through the fleet':30}{len(times) / seconds:6.0f} reads a second, {quantiles(times)}")
    print(f"{'connecting for each read':30}{len(bare) / seconds:6.0f} reads a second, ", end="")
    print(quantiles(bare))
    print(
        f"the layer keeps {kept / 1e6:.1f} MB, its connections included:"
        f" {kept / len(made.tenants) / 1e3:.1f} kB for each tenant"
    )


async def hanging_tenants(made: TestFleet, seconds: float) -> None:
    """Turns without and with hanging tenants; the load on the healthy ones is the same."""
    stuck, healthy = made.tenants[::HANGING], list(made.tenants)
    for tenant in stuck:
        healthy.remove(tenant)
    calm: list[list[float]] = []
    troubled: list[list[float]] = []
    for _ in range(3):
        calm.append(await load(made.fleet.query, healthy, seconds))
        async with hung(made, stuck):
            troubled.append(await load(made.fleet.query, healthy, seconds))
    print(f"\n{len(healthy)} healthy tenants while {len(stuck)} hang")
    print(f"{'none hangs':30}{quantiles([time for each in calm for time in each])}")
    print(f"{'5 % hang':30}{quantiles([time for each in troubled for time in each])}")
    ratio = median([quantile(each, 0.99) for each in troubled]) / median(
        [quantile(each, 0.99) for each in calm]
    )
    print(f"p99, median of 3 turns: {ratio:.2f} x")


@asynccontextmanager
async def hung(made: TestFleet, stuck: list[TenantId]) -> AsyncIterator[None]:
    """Tables of `stuck` are locked, and each has a caller that tries again and again."""
    async with AsyncExitStack() as stack:
        for tenant in stuck:
            admin = await stack.enter_async_context(made.administer(tenant))
            await admin.execute("begin; lock table notes")

        async def insist(tenant: TenantId) -> None:
            while True:
                try:
                    await made.fleet.query(tenant, PLAIN, [tenant])
                except BulkheadError:
                    await asyncio.sleep(0.05)

        callers = [asyncio.create_task(insist(tenant)) for tenant in stuck for _ in range(2)]
        try:
            await asyncio.sleep(SETTLE_S)
            yield
        finally:
            for caller in callers:
                caller.cancel()
            await asyncio.wait(callers)


async def load(read: Read, tenants: list[TenantId], seconds: float) -> list[float]:
    """Reads of tenants at random, as fast as `WORKERS` callers can; their times in seconds."""
    times: list[float] = []
    chooser = random.Random(7)  # noqa: S311
    until_s = perf_counter() + seconds

    async def work() -> None:
        while (began_s := perf_counter()) < until_s:
            tenant = chooser.choice(tenants)
            with contextlib.suppress(BulkheadError):
                await read(tenant, PLAIN, [tenant])
            times.append(perf_counter() - began_s)

    async with asyncio.TaskGroup() as group:
        for _ in range(WORKERS):
            group.create_task(work())
    return times


def quantile(times: list[float], share: float) -> float:
    """The time below which `share` of all stayed."""
    return sorted(times)[min(int(share * len(times)), len(times) - 1)]


def quantiles(times: list[float]) -> str:
    """p50 and p99 in milliseconds."""
    return f"p50 {quantile(times, 0.5) * 1e3:.1f} ms, p99 {quantile(times, 0.99) * 1e3:.1f} ms"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tenants", type=int, default=1000)
    parser.add_argument("--connections", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=6.0)
    options = parser.parse_args()
    with contextlib.suppress(KeyboardInterrupt):
        uvloop.run(main(options.tenants, options.connections, options.seconds))
