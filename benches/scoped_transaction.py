"""What the scope of a transaction costs: role, claims and the wiping of the session.

The same statement, by primary key and under the same policies, in a scoped transaction of a
signed-in user and in a bare asyncpg transaction of a session that took on the same role and claims
once and for all. Beside them the administrator's, to whom no policy applies. In turn, on one
connection each. Prints medians of the rounds, and the processor time of client and server. The aim
is at most 1.6 times the bare transaction of the same role.

    python benches/scoped_transaction.py [--rounds 50] [--number 100]
"""

from __future__ import annotations

import argparse
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from time import perf_counter
from typing import Any

import uvloop
from shop import cpu_s, fill_catalogue, median, open_shop

from bulkhead.engine.connections.claims import Claims, user
from bulkhead.engine.connections.database import OpenDatabase
from bulkhead.engine.connections.sql import literal
from bulkhead.engine.drivers.protocol import Login
from bulkhead.engine.ids import new_id
from bulkhead.engine.system import System

STATEMENT = "select id, sku, price from product_variants where id = $1"
AIM = "bare, same role"

Figures = tuple[float, float, float]


async def main(rounds: int, number: int) -> None:
    """Measure and print."""
    async with open_shop() as system:
        [variant, *_] = await fill_catalogue(system, 50)
        products = system.database("products")
        claims = user(new_id(), email="someone@example.com", app_metadata={}, user_metadata={})
        async with connected(products, claims) as mine, connected(products, None) as admin:

            async def bare(connection: Any) -> None:  # noqa: ANN401
                async with connection.transaction():
                    assert await connection.fetchrow(STATEMENT, variant)

            async def scoped() -> None:
                async with products.transaction(claims) as tx:
                    assert await tx.fetchrow(STATEMENT, variant)

            works = {
                "scoped": scoped,
                AIM: lambda: bare(mine),
                "bare, administrator": lambda: bare(admin),
            }
            runs: dict[str, list[Figures]] = {name: [] for name in works}
            for _ in range(rounds + 1):
                for name, work in works.items():
                    runs[name].append(await measure(system, work, number))
    report({name: figures[1:] for name, figures in runs.items()})


@asynccontextmanager
async def connected(database: OpenDatabase, claims: Claims | None) -> AsyncIterator[Any]:
    """A connection that is under `claims` for good, or the administrator's."""
    login = Login.CLIENT if claims else Login.ADMIN
    connection = await database.driver.connect(database.spec, login, timeout_s=10.0)
    if claims is not None:
        scope = f"set role {claims.role}; set request.jwt.claims = {literal(claims.json)}"
        await connection.execute(scope)
    try:
        yield connection
    finally:
        await connection.close()


async def measure(system: System, work: Callable[[], Awaitable[None]], number: int) -> Figures:
    """Microseconds of one run: on the clock, of this process, of the server."""
    client, server = cpu_s(system)
    started = perf_counter()
    for _ in range(number):
        await work()
    wall = perf_counter() - started
    client_after, server_after = cpu_s(system)
    scale = 1e6 / number
    return wall * scale, (client_after - client) * scale, (server_after - server) * scale


def report(runs: dict[str, list[Figures]]) -> None:
    """Print medians, and what the scoped transaction is to the others."""
    rows = {
        name: [median([figures[column] for figures in each]) for column in range(3)]
        for name, each in runs.items()
    }
    print(f"{'':30}{'time us':>10}{'client CPU us':>16}{'server CPU us':>16}")
    for name, row in rows.items():
        print(f"{name:30}{row[0]:10.0f}{row[1]:16.0f}{row[2]:16.0f}")
    scoped = rows.pop("scoped")
    for name, row in rows.items():
        ratios = [a / b for a, b in zip(scoped, row, strict=True)]
        print(f"{'ratio to ' + name:30}{ratios[0]:10.2f}{ratios[1]:16.2f}{ratios[2]:16.2f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--number", type=int, default=100)
    options = parser.parse_args()
    uvloop.run(main(options.rounds, options.number))
