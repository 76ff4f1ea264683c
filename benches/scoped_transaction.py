"""What the scope of a transaction costs: role, claims and the wiping of the session.

The same statement in a bare asyncpg transaction (administrator, no row level security) and in a
scoped one (a signed-in user, under policies), in turn, on one connection each. Prints the medians
of the rounds, and the processor time of client and server. The aim is at most 1.6 times.

    python benches/scoped_transaction.py [--rounds 7] [--number 1000]
"""

from __future__ import annotations

import argparse
from collections.abc import Awaitable, Callable
from time import perf_counter

import uvloop
from shop import cpu_s, fill_catalogue, median, open_shop

from bulkhead.engine.connections.admin import administer
from bulkhead.engine.connections.claims import user
from bulkhead.engine.ids import new_id

STATEMENT = "select id, sku, price from product_variants where id = $1"


async def main(rounds: int, number: int) -> None:
    """Measure and print."""
    async with open_shop() as system:
        [variant, *_] = await fill_catalogue(system, 50)
        products = system.database("products")
        claims = user(new_id(), email="someone@example.com", app_metadata={}, user_metadata={})
        async with administer(products) as connection:

            async def bare() -> None:
                async with connection.transaction():
                    assert await connection.fetchrow(STATEMENT, variant)

            async def scoped() -> None:
                async with products.transaction(claims) as tx:
                    assert await tx.fetchrow(STATEMENT, variant)

            figures = {"bare": [], "scoped": []}  # type: dict[str, list[tuple[float, float, float]]]
            for _ in range(rounds + 1):
                for name, work in (("bare", bare), ("scoped", scoped)):
                    figures[name].append(await measure(work, number))
    report(figures)


async def measure(work: Callable[[], Awaitable[None]], number: int) -> tuple[float, float, float]:
    """Microseconds of one run: on the clock, of this process, of the servers."""
    client, server = cpu_s()
    started = perf_counter()
    for _ in range(number):
        await work()
    wall = perf_counter() - started
    client_after, server_after = cpu_s()
    scale = 1e6 / number
    return wall * scale, (client_after - client) * scale, (server_after - server) * scale


def report(figures: dict[str, list[tuple[float, float, float]]]) -> None:
    """Print medians without the first round, which warms up."""
    rows = {
        name: [median([run[column] for run in runs[1:]]) for column in range(3)]
        for name, runs in figures.items()
    }
    print(f"{'':10}{'time us':>10}{'client CPU us':>16}{'server CPU us':>16}")
    for name, values in rows.items():
        print(f"{name:10}{values[0]:10.0f}{values[1]:16.0f}{values[2]:16.0f}")
    ratios = [scoped / bare for bare, scoped in zip(rows["bare"], rows["scoped"], strict=True)]
    print(f"{'ratio':10}{ratios[0]:10.2f}{ratios[1]:16.2f}{ratios[2]:16.2f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--number", type=int, default=1000)
    options = parser.parse_args()
    uvloop.run(main(options.rounds, options.number))
