"""What a PgBouncer in between costs, for us and for whoever does it by hand.

A PgBouncer in transaction mode stands in front of an embedded server; both are reached by TCP over
the loopback. The same row by its key, under the same policies of a signed-in user, one after
another on one connection each, in turn: a scoped read and a scoped transaction of ours, directly
and through the pooler, and asyncpg's own transaction that sets role and claims by hand. Beside them
the administrator's without any scope. All of them prepare statements where the pooler keeps them
apart (from 1.21 on; PGBOUNCER names such a program), and none elsewhere. Then 16 tasks at once
share 4 sessions of the pooler, or 16 connections of their own. Prints medians of the rounds, and of
their ratios.

    PYTHONPATH=tools python benches/pooler.py [--rounds 20] [--number 20]
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import uvloop
from pgbouncer_server import ABSENT, find_pgbouncer, run_pgbouncer
from shop import fill_catalogue, median, open_shop

from bulkhead.engine.connections.claims import Claims, user
from bulkhead.engine.connections.database import OpenDatabase
from bulkhead.engine.connections.pool import Budget
from bulkhead.engine.connections.sql import literal
from bulkhead.engine.drivers.embedded import EmbeddedDriver
from bulkhead.engine.drivers.endpoint import Endpoint, open_connection
from bulkhead.engine.drivers.pooler import keeps_statements
from bulkhead.engine.drivers.postgres import PostgresDriver
from bulkhead.engine.drivers.protocol import Login
from bulkhead.engine.ids import new_id

STATEMENT = "select id, sku, price from product_variants where id = $1"
AT_ONCE = 16
SESSIONS = 4
SECONDS = 0.7

Work = Callable[[], Awaitable[None]]


@dataclass(frozen=True)
class Ways:
    """The database of products by both ways, and who asks for which row."""

    direct: OpenDatabase
    pooled: OpenDatabase
    claims: Claims
    variant: str

    async def read(self, database: OpenDatabase) -> None:
        """A scoped read."""
        async with database.transaction(self.claims, read_only=True) as tx:
            assert await tx.fetchrow(STATEMENT, self.variant)

    async def transact(self, database: OpenDatabase) -> None:
        """A scoped transaction that might have written."""
        async with database.transaction(self.claims) as tx:
            assert await tx.fetchrow(STATEMENT, self.variant)

    async def by_hand(self, connection: Any, scope: str) -> None:  # noqa: ANN401
        """A transaction of asyncpg's own."""
        async with connection.transaction():
            if scope:
                await connection.execute(scope)
            assert await connection.fetchrow(STATEMENT, self.variant)

    @property
    def scope(self) -> str:
        """Role and claims as SQL."""
        claims = literal(self.claims.json)
        return f"set local role {self.claims.role}; set local request.jwt.claims = {claims}"

    async def connect(self, database: OpenDatabase, login: Login) -> Any:  # noqa: ANN401
        """A bare connection by the way of `database`."""
        driver = database.driver
        assert isinstance(driver, PostgresDriver)
        session = driver.session(database.spec, login)
        if driver.pooler is None:
            return await open_connection(driver.endpoint, session, timeout_s=10.0)
        raw = await open_connection(driver.pooler, session, timeout_s=10.0, pooled=True)
        if not await keeps_statements(raw, timeout_s=10.0):
            return raw
        await raw.close()
        return await open_connection(driver.pooler, session, timeout_s=10.0)


@asynccontextmanager
async def open_ways() -> AsyncIterator[Ways]:
    """A shop on an embedded server, and a pooler in front of it."""
    with tempfile.TemporaryDirectory(prefix="bulkhead-bench-") as folder:
        Path(folder).chmod(0o755)
        async with open_shop() as system:
            [variant, *_] = await fill_catalogue(system, 50)
            products = system.database("products")
            assert isinstance(products.driver, EmbeddedDriver)
            inner = products.driver._driver  # noqa: SLF001
            at = inner.endpoint
            there = Endpoint("127.0.0.1", at.port, at.user, at.password)
            claims = user(new_id(), email="someone@example.com", app_metadata={}, user_metadata={})
            with run_pgbouncer(
                Path(folder) / "pooler", there, default_pool_size=SESSIONS
            ) as pooler:
                direct, pooled = (
                    OpenDatabase(
                        products.application,
                        products.name,
                        PostgresDriver(there, inner._secret, pooler=way),  # noqa: SLF001
                        products.spec,
                        Budget(AT_ONCE),
                        pool_size=AT_ONCE,
                    )
                    for way in (None, pooler.endpoint())
                )
                yield Ways(direct, pooled, claims, variant)
                await direct.close()
                await pooled.close()


async def main(rounds: int, number: int) -> None:
    """Measure and print."""
    async with open_ways() as ways, AsyncExitStack() as stack:
        direct, pooled = ways.direct, ways.pooled

        async def bare(database: OpenDatabase, login: Login) -> Any:  # noqa: ANN401
            connection = await ways.connect(database, login)
            stack.callback(connection.terminate)
            return connection

        mine = await bare(pooled, Login.CLIENT)
        mine_direct = await bare(direct, Login.CLIENT)
        admin = await bare(pooled, Login.ADMIN)
        await one_by_one(
            {
                "scoped read, pooled": lambda: ways.read(pooled),
                "scoped read, direct": lambda: ways.read(direct),
                "scoped transaction, pooled": lambda: ways.transact(pooled),
                "scoped transaction, direct": lambda: ways.transact(direct),
                "asyncpg by hand, pooled": lambda: ways.by_hand(mine, ways.scope),
                "asyncpg by hand, direct": lambda: ways.by_hand(mine_direct, ways.scope),
                "asyncpg, no scope, pooled": lambda: ways.by_hand(admin, ""),
            },
            rounds,
            number,
        )
        bares = [await bare(pooled, Login.CLIENT) for _ in range(AT_ONCE)]
        await at_once(ways, bares)


async def one_by_one(works: dict[str, Work], rounds: int, number: int) -> None:
    """Microseconds of each, and the ratios that matter."""
    runs: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds + 1):
        for name, work in works.items():
            started = perf_counter()
            for _ in range(number):
                await work()
            runs[name].append((perf_counter() - started) / number * 1e6)
    took = {name: median(each[1:]) for name, each in runs.items()}
    for name, figure in took.items():
        print(f"{name:34}{figure:8.0f} us")
    for name, other in (
        ("scoped read, pooled", "scoped read, direct"),
        ("scoped transaction, pooled", "scoped transaction, direct"),
        ("asyncpg by hand, pooled", "asyncpg by hand, direct"),
        ("scoped read, pooled", "asyncpg by hand, pooled"),
        ("scoped transaction, pooled", "asyncpg by hand, pooled"),
        ("scoped read, pooled", "asyncpg, no scope, pooled"),
        ("scoped transaction, pooled", "asyncpg, no scope, pooled"),
    ):
        ratios = [a / b for a, b in zip(runs[name][1:], runs[other][1:], strict=True)]
        print(f"{name} / {other}: {median(ratios):.2f}")


async def at_once(ways: Ways, bares: list[Any]) -> None:
    """Transactions a second of many tasks, best of three."""
    works: dict[str, list[Work]] = {
        "scoped reads, pooled": [lambda: ways.read(ways.pooled)] * AT_ONCE,
        "scoped reads, direct": [lambda: ways.read(ways.direct)] * AT_ONCE,
        "scoped transactions, pooled": [lambda: ways.transact(ways.pooled)] * AT_ONCE,
        "scoped transactions, direct": [lambda: ways.transact(ways.direct)] * AT_ONCE,
        "asyncpg by hand, pooled": [
            partial(ways.by_hand, connection, ways.scope) for connection in bares
        ],
    }
    rates = dict.fromkeys(works, 0.0)
    for _ in range(3):
        for name, work in works.items():
            rates[name] = max(rates[name], await rate(work))
    print(f"{AT_ONCE} at once, {SESSIONS} sessions behind the pooler:")
    for name, figure in rates.items():
        print(f"{name:34}{figure:8.0f} / s")
    base = rates["asyncpg by hand, pooled"]
    for name in ("scoped reads, pooled", "scoped transactions, pooled"):
        print(f"{name} / asyncpg by hand, pooled: {rates[name] / base:.2f}")


async def rate(works: list[Work]) -> float:
    """How often a second they are done when each is repeated at once with the others."""
    done = 0
    ends = perf_counter() + SECONDS

    async def repeat(work: Work) -> None:
        nonlocal done
        while perf_counter() < ends:
            await work()
            done += 1

    async with asyncio.TaskGroup() as group:
        for work in works:
            group.create_task(repeat(work))
    return done / SECONDS


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--number", type=int, default=20)
    options = parser.parse_args()
    if find_pgbouncer() is None:
        raise SystemExit(ABSENT)
    uvloop.run(main(options.rounds, options.number))
