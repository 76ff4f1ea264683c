"""A change here, and a row over there because of it: outbox and relay against procrastinate.

Each writer changes database alpha and, in the same transaction, publishes an event or defers a
task; because of it, one row is written into database beta. The rate is that of a backlog which the
writers make as fast as they can. Latency is from the end of the one commit to the end of the other,
at a pace that both can keep.

Our relay runs in the process of the writers, as it does in `bulkhead up`. The worker of
procrastinate is a process of its own, as its manual has it: it listens, runs ten tasks at a time
and deletes jobs that have succeeded. Our row comes with one of the inbox; the task, which may run
twice, inserts unless the row is there.

    python benches/outbox_against_procrastinate.py [--rounds 3] [--events 2000] [--seconds 5]
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import ClassVar
from uuid import UUID

import deferred_deposits
import psycopg_pool
import uvloop
from pair import INSERT, open_pair, socket_url
from shop import median, quantile_ms

from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.connections.transaction import Transaction
from bulkhead.engine.ids import new_id
from bulkhead.engine.messaging.outbox import publish
from bulkhead.engine.messaging.subscription import Subscription
from bulkhead.engine.system import System

WRITERS = (1, 8)
PACE_S = 0.04
"""Each writer publishes 25 times a second."""
WAIT_S_MAX = 120.0
LOOK_EVERY_S = 0.02
INSERT_WITHDRAWAL = "insert into withdrawals (id, account, amount) values (%s, %s, %s)"

Publish = Callable[[UUID], Awaitable[None]]
Received = dict[UUID, float]


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """What the writers publish."""

    type: ClassVar[str] = "pair.withdrawn"
    id: UUID
    account: str
    amount: int

    @property
    def key(self) -> str:
        """Events of different keys do not wait for one another."""
        return self.id.hex


@dataclass
class Side:
    """One of the two that are compared."""

    publish: Publish
    look: Callable[[], Received]
    """What has been received so far, and when."""
    rates: list[float] = field(default_factory=list)
    times_s: list[float] = field(default_factory=list)


@dataclass
class Log:
    """Reads what the worker writes down; all processes have the same clock."""

    path: Path
    received: Received = field(default_factory=dict)
    offset: int = 0

    def read(self) -> Received:
        """Everything so far."""
        with self.path.open() as lines:
            lines.seek(self.offset)
            text = lines.read()
        whole = text[: text.rfind("\n") + 1]
        self.offset += len(whole)
        for line in whole.splitlines():
            event_id, at_s = line.split()
            self.received[UUID(event_id)] = float(at_s)
        return self.received


async def main(rounds: int, events: int, seconds: float) -> None:
    """Measure and print."""
    received: Received = {}

    async def deposit(tx: Transaction, event: Withdrawn) -> None:
        await tx.execute(INSERT["beta"], event.id, event.account, event.amount)
        tx.after_commit(lambda: received.__setitem__(event.id, perf_counter()))

    handler = Subscription(Withdrawn, "beta", "beta.deposit", deposit)
    async with open_pair(subscriptions=(handler,)) as system, deferring(system) as peer:
        await system.relay.start()
        sides = {"outbox": Side(publishing(system), lambda: received), "procrastinate": peer}
        for side in sides.values():
            await flood(side, max(WRITERS), 400)
        print(f"{'writers':>8}  {'':16}{'events/s':>10}{'p50 ms':>10}{'p99 ms':>10}")
        for writers in WRITERS:
            for side in sides.values():
                side.rates, side.times_s = [], []
            for _ in range(rounds):
                for side in sides.values():
                    side.rates.append(await flood(side, writers, events))
                    side.times_s += await pace(side, writers, seconds)
            report(sides, writers)


def report(sides: dict[str, Side], writers: int) -> None:
    """Print the median of the rates, and the quantiles of all times."""
    for name, side in sides.items():
        times = [quantile_ms(side.times_s, share) for share in (0.5, 0.99)]
        print(f"{writers:8}  {name:16}{median(side.rates):10.0f}{times[0]:10.2f}{times[1]:10.2f}")
    ours, theirs = sides.values()
    rate = median([a / b for a, b in zip(ours.rates, theirs.rates, strict=True)])
    faster = [quantile_ms(theirs.times_s, q) / quantile_ms(ours.times_s, q) for q in (0.5, 0.99)]
    print(f"{'':10}{'times better':16}{rate:10.1f}{faster[0]:10.1f}{faster[1]:10.1f}", flush=True)


async def flood(side: Side, writers: int, events: int) -> float:
    """Events per second, from the first publication to the last receipt."""
    ids: list[UUID] = []

    async def write() -> None:
        for _ in range(events // writers):
            event_id = new_id()
            ids.append(event_id)
            await side.publish(event_id)

    began_s = perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(writers):
            group.create_task(write())
    received = await wait_for(side, ids)
    return len(ids) / (max(received[event_id] for event_id in ids) - began_s)


async def pace(side: Side, writers: int, seconds: float) -> list[float]:
    """Seconds from commit to commit, when each writer publishes once every PACE_S."""
    published: dict[UUID, float] = {}
    until_s = perf_counter() + seconds

    async def write(number: int) -> None:
        await asyncio.sleep(PACE_S * number / writers)
        while (began_s := perf_counter()) < until_s:
            event_id = new_id()
            await side.publish(event_id)
            published[event_id] = perf_counter()
            await asyncio.sleep(max(0.0, began_s + PACE_S - perf_counter()))

    async with asyncio.TaskGroup() as group:
        for number in range(writers):
            group.create_task(write(number))
    received = await wait_for(side, list(published))
    return [received[event_id] - at_s for event_id, at_s in published.items()]


async def wait_for(side: Side, ids: list[UUID]) -> Received:
    """Everything that was received, once all of `ids` are."""
    wanted = set(ids)
    async with asyncio.timeout(WAIT_S_MAX):
        while not (received := side.look()).keys() >= wanted:  # noqa: ASYNC110 - a file
            await asyncio.sleep(LOOK_EVERY_S)
    return received


def publishing(system: System) -> Publish:
    """Our side's way to publish."""
    alpha = system.database("alpha")

    async def publish_one(event_id: UUID) -> None:
        async with alpha.transaction(SERVICE) as tx:
            await tx.execute(INSERT["alpha"], event_id, "someone", 5)
            publish(tx, Withdrawn(event_id, "someone", 5))

    return publish_one


@asynccontextmanager
async def deferring(system: System) -> AsyncIterator[Side]:
    """The other side, with its worker as a process of its own."""
    urls = [await socket_url(system, name) for name in ("alpha", "beta")]
    app, task = deferred_deposits.declare(urls[0])
    pool = psycopg_pool.AsyncConnectionPool(urls[0], min_size=8, max_size=16, open=False)

    async def defer(event_id: UUID) -> None:
        async with pool.connection() as connection, connection.transaction():
            await connection.execute(INSERT_WITHDRAWAL, (event_id, "someone", 5))
            deferrer = task.configure(connection=connection)
            await deferrer.defer_async(event_id=str(event_id), account="someone", amount=5)

    with tempfile.NamedTemporaryFile() as log:
        async with app.open_async(), pool:
            await app.schema_manager.apply_schema_async()
            command = [sys.executable, __file__, "--worker", *urls, log.name]
            worker = await asyncio.to_thread(subprocess.Popen, command)
            try:
                yield Side(defer, Log(Path(log.name)).read)
            finally:
                worker.send_signal(signal.SIGTERM)
                await asyncio.to_thread(worker.wait)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        uvloop.run(deferred_deposits.work(*sys.argv[2:]))
        sys.exit()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--events", type=int, default=2000)
    parser.add_argument("--seconds", type=float, default=5.0)
    options = parser.parse_args()
    uvloop.run(main(options.rounds, options.events, options.seconds))
