"""One outbox as a relay sees it: a pump for each handler, a sweep, and a listener where it is hot.

The sweep is the safety net under commits of this process and NOTIFY from others: it finds what
nobody rang for, what is due again, and what a relay that died had leased.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Mapping
from dataclasses import dataclass, field

from bulkhead.engine.clock import monotonic_s
from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.connections.database import OpenDatabase
from bulkhead.engine.connections.queries import load_queries
from bulkhead.engine.errors import BulkheadError
from bulkhead.engine.messaging.delivery import DeliveryInterrupted
from bulkhead.engine.messaging.listener import Listener
from bulkhead.engine.messaging.pump import Pump, is_set_within

QUERIES = load_queries(__package__)

SWEEP_S_MIN = 0.25
LOOK_EVERY_S = 5.0
LOOK_SHARE_MAX = 0.05

log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class Source:
    """The outbox of `database` and its pumps by handler."""

    database: OpenDatabase
    pumps: Mapping[str, Pump]
    hot: bool = False
    sweep_s_max: float = 5.0
    _stopping: asyncio.Event = field(default_factory=asyncio.Event)
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)

    @property
    def delivered(self) -> int:
        """Deliveries made from here since the start."""
        return sum(pump.delivered for pump in self.pumps.values())

    @property
    def failed(self) -> int:
        """Attempts that failed, since the start."""
        return sum(pump.failed for pump in self.pumps.values())

    @property
    def interrupted(self) -> int:
        """How often a handler's database was away, since the start."""
        return sum(pump.interrupted for pump in self.pumps.values())

    def ring(self, handlers: frozenset[str]) -> None:
        """Say that `handlers` have something to receive; none of them means: all may have."""
        for name in handlers or self.pumps:
            if (pump := self.pumps.get(name)) is not None:
                pump.ring(sweep=not handlers)

    def start(self) -> None:
        """Deliver in the background from now on."""
        self._stopping.clear()
        for pump in self.pumps.values():
            self._tasks.append(asyncio.create_task(pump.run(self._stopping)))
        self._tasks.append(asyncio.create_task(self._sweep_on()))
        if self.hot:
            self._tasks.append(asyncio.create_task(self._listen()))

    async def stop(self, timeout_s: float) -> None:
        """Finish what is in flight, take nothing new; give up after `timeout_s`."""
        self._stopping.set()
        self.ring(frozenset())
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=timeout_s)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late)
        self._tasks.clear()

    async def sweep(self) -> int:
        """Deliver everything that can be, and return how many deliveries that was.

        A handler whose database is away is left out; failpoints and the outbox's errors pass.
        """
        before = self.delivered
        for name in await self._list_waiting():
            try:
                await self.pumps[name].turn(sweep=True)
            except DeliveryInterrupted as error:
                log.warning("%s: %s", name, error)
        return self.delivered - before

    async def _list_waiting(self, *, everywhere: bool = True) -> list[str]:
        floors = [0 if everywhere else p.lessee.floor.position for p in self.pumps.values()]
        async with self.database.transaction(SERVICE, read_only=True) as tx:
            rows = await tx.fetch(QUERIES.list_waiting_handlers, list(self.pumps), floors)
        return [row["handler"] for row in rows]

    async def _sweep_on(self) -> None:
        """Ring for what waits: soon while something happens, else ever more rarely."""
        interval_s, happened, looked_s = SWEEP_S_MIN, 0, 0.0
        while True:
            now_s = monotonic_s()
            everywhere = now_s - looked_s >= self._look_every_s()
            looked_s = now_s if everywhere else looked_s
            try:
                for name in await self._list_waiting(everywhere=everywhere):
                    self.pumps[name].ring(sweep=everywhere)
            except BulkheadError as error:
                log.debug("could not sweep %s: %s", self.database.name, error)
            before, happened = happened, self.delivered + self.failed + self.interrupted
            interval_s = (
                SWEEP_S_MIN if before != happened else min(2 * interval_s, self.sweep_s_max)
            )
            pause_s = interval_s * random.uniform(0.8, 1.2)  # noqa: S311
            if await is_set_within(self._stopping, pause_s):
                return

    def _look_every_s(self) -> float:
        """How often to look where nothing is expected: rarely when that is slow."""
        slowest_s = max((pump.look_s for pump in self.pumps.values()), default=0.0)
        return max(LOOK_EVERY_S, slowest_s / LOOK_SHARE_MAX)

    async def _listen(self) -> None:
        listening = asyncio.create_task(Listener(self.database, self.ring).run())
        await self._stopping.wait()
        listening.cancel()
        await asyncio.wait([listening])
