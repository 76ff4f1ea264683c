"""A small application whose events can be counted: one database publishes, two receive."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from bulkhead.engine.application import Application
from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.connections.transaction import Transaction
from bulkhead.engine.messaging.outbox import publish
from bulkhead.engine.messaging.relay import Relay, RelayLimits
from bulkhead.engine.messaging.subscription import Subscription
from bulkhead.engine.system import System, build_system
from bulkhead.engine.topology import Database, Table, Topology

HERE = Path(__file__).parent / "parcels"


@dataclass(frozen=True)
class Counted:
    """The counter `name` has reached `number`."""

    type: ClassVar[str] = "parcels.counted"
    name: str
    number: int

    @property
    def key(self) -> str:
        return self.name


@dataclass(frozen=True)
class Recorded:
    """The target has recorded a number."""

    type: ClassVar[str] = "parcels.recorded"
    name: str
    number: int

    @property
    def key(self) -> str:
        return self.name


class Poisoned(Exception):
    """The handler cannot stomach this event."""


@dataclass
class Handlers:
    """The handlers, and what is wrong with them at the moment."""

    poison: set[str] = field(default_factory=set)
    """Keys on which the recording handler fails."""
    lethal: set[str] = field(default_factory=set)
    """Keys on which the recording handler's connection breaks."""
    endless: set[str] = field(default_factory=set)
    """Keys on which the recording handler never comes back."""
    calls: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def seen(self, name: str, times: int) -> None:
        """Wait until the recording handler has been called so often for a key."""
        while self.calls[name] < times:
            self._changed.clear()
            await self._changed.wait()

    async def record(self, tx: Transaction, event: Counted) -> None:
        self.calls[event.name] += 1
        self._changed.set()
        await tx.execute(
            "insert into receipts (handler, key, number) values ('record', $1, $2)",
            event.name,
            event.number,
        )
        if event.name in self.poison:
            raise Poisoned(event.name)
        if event.name in self.lethal:
            await tx.execute("reset role; select pg_terminate_backend(pg_backend_pid())")
        if event.name in self.endless:
            await asyncio.Event().wait()
        publish(tx, Recorded(event.name, event.number))

    async def copy(self, tx: Transaction, events: Sequence[Counted]) -> None:
        await tx.execute(
            "insert into copies (handler, key, number)"
            " select 'copy', e.name, e.number from unnest($1::text[], $2::int[]) e (name, number)",
            [event.name for event in events],
            [event.number for event in events],
        )

    async def confirm(self, tx: Transaction, event: Recorded) -> None:
        await tx.execute("update counters set confirmed = confirmed + 1 where key = $1", event.name)


def parcels_application(handlers: Handlers) -> Application:
    return Application(
        "parcels",
        "Parcels",
        Topology(
            "parcels",
            (
                Database("origin", (Table("counters", key=("key",)),), HERE / "origin"),
                Database("target", (Table("receipts", key=("place",)),), HERE / "target"),
                Database("mirror", (Table("copies", key=("place",)),), HERE / "mirror"),
            ),
        ),
        subscriptions=(
            Subscription(Counted, "target", "target.record", handlers.record),
            Subscription(Counted, "mirror", "mirror.copy", handlers.copy, batch=True),
            Subscription(Recorded, "origin", "origin.confirm", handlers.confirm),
        ),
    )


async def count(tx: Transaction, name: str) -> int:
    """Count on, which waits for everybody else who counts the same, and say so."""
    number: int = await tx.fetchval(
        "insert into counters values ($1, 1)"
        " on conflict (key) do update set number = counters.number + 1 returning number",
        name,
    )
    publish(tx, Counted(name, number))
    return number


async def count_up(system: System, name: str, times: int = 1) -> None:
    for _ in range(times):
        async with system.database("origin").transaction(SERVICE) as tx:
            await count(tx, name)


async def received(system: System, database: str = "target") -> dict[str, list[int]]:
    """The numbers by key, in the order in which they were recorded."""
    table = {"target": "receipts", "mirror": "copies"}[database]
    numbers: dict[str, list[int]] = defaultdict(list)
    async with system.database(database).transaction(SERVICE) as tx:
        for row in await tx.fetch(f"select key, number from {table} order by place"):
            numbers[row["key"]].append(row["number"])
    return dict(numbers)


async def confirmed(system: System) -> dict[str, int]:
    async with system.database("origin").transaction(SERVICE) as tx:
        rows = await tx.fetch("select key, confirmed from counters where confirmed > 0")
    return {row["key"]: row["confirmed"] for row in rows}


async def waiting(system: System) -> dict[str, int]:
    """How much is left in the origin's outbox, by handler."""
    return {each.handler: each.waiting for each in await system.relay.backlog("origin")}


def another_relay(system: System, limits: RelayLimits | None = None) -> Relay:
    """A relay that takes smaller bites or waits less long."""
    return Relay(system.router, system.outbox, limits=limits)


@asynccontextmanager
async def another_process(system: System) -> AsyncIterator[System]:
    """What a second process over the same databases would open."""
    other = build_system(system.application, system.settings, system.router.placements)
    try:
        yield other
    finally:
        await other.close()
