"""One insert in each of two databases, all or nothing: a saga against a workflow of DBOS.

Both outlive a crash at any point, give a repeated id its first answer, and answer when all is done;
no queue stands in between. The saga makes its inserts side by side, or one by one, and ends its
record with a third commit. The workflow makes them one by one, each in a transaction of a
datasource, as its manual has it, on the event loop or in threads; its system database is a third
one of the same server. It reads committed, as we do, instead of serializably. The ratio is that of
the saga side by side to the faster kind of workflow; the aim is at least 5.

    python benches/saga_against_dbos.py [--seconds 4] [--rounds 3]
"""

from __future__ import annotations

import argparse
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

import uvloop
from dbos_transfer import open_workflows
from pair import TABLES, count_rows, open_pair, socket_url
from shop import measure_rate, median, quantile_ms

from bulkhead.engine.connections.transaction import Transaction
from bulkhead.engine.errors import BulkheadError
from bulkhead.engine.ids import new_id
from bulkhead.engine.messaging.saga import DatabaseStep, Json, Saga, StepItem
from bulkhead.engine.system import System

CLIENTS = (1, 8)
AMOUNT = 5


@dataclass
class Way:
    """One way to transfer, and what it gave."""

    name: str
    transfer: Callable[[], Awaitable[None]]
    rates: list[float] = field(default_factory=list)
    times_s: list[float] = field(default_factory=list)


async def main(seconds: float, rounds: int) -> None:
    """Measure and print."""
    async with AsyncExitStack() as stack:
        system = await stack.enter_async_context(open_pair(sagas=lambda _: build_sagas()))
        urls = {name: await socket_url(system, name) for name in TABLES}
        registry = await socket_url(system, "alpha", physical="bench_dbos")
        workflows = await stack.enter_async_context(open_workflows(urls, registry, max(CLIENTS)))
        ways = [
            Way("saga, side by side", lambda: run_saga(system, "side_by_side")),
            Way("saga, one by one", lambda: run_saga(system, "one_by_one")),
            *(Way(name, transfer) for name, transfer in workflows.items()),
        ]
        for way in ways:
            await measure_rate(max(CLIENTS), 1.0, way.transfer)
        print(f"{'clients':>8}  {'':20}{'per s':>8}{'p50 ms':>9}{'p99 ms':>9}{'ratio':>7}")
        for clients in CLIENTS:
            await compare(ways, clients, seconds, rounds)
        counts = {name: await count_rows(system, name) for name in TABLES}
        assert len(set(counts.values())) == 1, f"half transfers: {counts}"


async def compare(ways: Sequence[Way], clients: int, seconds: float, rounds: int) -> None:
    """Go all ways in turn, several times, and print medians."""
    for way in ways:
        way.rates, way.times_s = [], []
    for _ in range(rounds):
        for way in ways:
            rate, times_s = await measure_rate(clients, seconds, way.transfer)
            way.rates.append(rate)
            way.times_s += times_s
    ours, _, *theirs = ways
    best = max(theirs, key=lambda way: median(way.rates))
    ratio = median([a / b for a, b in zip(ours.rates, best.rates, strict=True)])
    for way in ways:
        p50, p99 = (quantile_ms(way.times_s, share) for share in (0.5, 0.99))
        shown = f"{ratio:7.1f}" if way is ours else ""
        print(f"{clients:8}  {way.name:20}{median(way.rates):8.0f}{p50:9.2f}{p99:9.2f}{shown}")


def build_sagas() -> tuple[Saga, Saga]:
    """The same transfer with both inserts side by side, and one by one."""
    withdraw = DatabaseStep("withdraw", "alpha", _inserting("alpha"), _deleting("alpha"))
    deposit = DatabaseStep("deposit", "beta", _inserting("beta"), _deleting("beta"))
    end = (DatabaseStep("close", "alpha", _close),)
    return (
        Saga("side_by_side", ((withdraw, deposit), end), pivot="close", answer=_answer),
        Saga("one_by_one", ((withdraw,), (deposit,), end), pivot="close", answer=_answer),
    )


async def run_saga(system: System, name: str) -> None:
    """One transfer of ours."""
    given = {"account": "someone", "amount": AMOUNT}
    saga = system.sagas.saga(name)
    answer = await system.sagas.run(saga, new_id(), given, request_hash="bench")
    assert answer == AMOUNT


def _inserting(database: str) -> Any:  # noqa: ANN401
    sql = (
        f"insert into {TABLES[database]} (id, account, amount)"
        " select id, account, amount from unnest($1::uuid[], $2::text[], $3::integer[])"
        " as given (id, account, amount)"
    )

    async def insert(tx: Transaction, items: Sequence[StepItem]) -> list[Json | BulkheadError]:
        accounts = [item.input["account"] for item in items]
        amounts = [item.input["amount"] for item in items]
        await tx.execute(sql, [item.saga_id for item in items], accounts, amounts)
        return [None for _ in items]

    return insert


def _deleting(database: str) -> Any:  # noqa: ANN401
    sql = f"delete from {TABLES[database]} where id = any($1::uuid[])"

    async def delete(tx: Transaction, items: Sequence[StepItem]) -> None:
        await tx.execute(sql, [item.saga_id for item in items])

    return delete


async def _close(_: Transaction, items: Sequence[StepItem]) -> list[Json | BulkheadError]:
    return [None for _ in items]


def _answer(item: StepItem) -> Json:
    return item.input["amount"]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    uvloop.run(main(options.seconds, options.rounds))
