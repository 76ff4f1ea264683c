"""The relay carries events from the outboxes of an application to its handlers.

For each handler and outbox there is a pump. Pumps are rung by commits of this process, by NOTIFY
where other processes write, and by a sweep every few seconds that finds what nobody rang for.
Several relays may run at once, in any number of processes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.connections.database import OpenDatabase
from bulkhead.engine.drivers.errors import StatementTimeout
from bulkhead.engine.errors import BulkheadError, Unavailable
from bulkhead.engine.messaging.backlog import Backlog, list_backlog
from bulkhead.engine.messaging.delivery import HANDLER_TIMEOUT_S, Receiver
from bulkhead.engine.messaging.lease import BATCH_MAX, Lessee, Retry
from bulkhead.engine.messaging.pump import Pump
from bulkhead.engine.messaging.retention import Retention, prune
from bulkhead.engine.messaging.source import Source

if TYPE_CHECKING:
    from bulkhead.engine.connections.router import Router
    from bulkhead.engine.messaging.outbox import Outbox

STOP_S_MAX = 20.0


class DeliveriesStuck(BulkheadError):
    """Some deliveries cannot be made: {stuck}."""

    code = "deliveries_stuck"
    hint = "See why: bulkhead event dead list."


@dataclass(frozen=True, slots=True)
class RelayLimits:
    """How much a relay takes at a time, and how long it waits."""

    batch_max: int = BATCH_MAX
    lease_s: float = 30.0
    sweep_s_max: float = 5.0
    """How long an event may lie in a quiet outbox of which no hint arrives. A sweep costs one
    connection for a moment: raise it where there are many databases."""
    handler_timeout_s: float = HANDLER_TIMEOUT_S
    retry: Retry = field(default_factory=Retry)
    retention: Retention = field(default_factory=Retention)


class Relay:
    """Delivers the events of one application; give it the router's own outbox."""

    def __init__(
        self,
        router: Router,
        outbox: Outbox,
        *,
        hot: Collection[str] = (),
        limits: RelayLimits | None = None,
    ) -> None:
        """Nothing runs before `start`. `hot` names the databases in which it shall listen.

        Raises PlacementUnknown for a subscription whose database the router does not have.
        """
        self.limits = limits or RelayLimits()
        self._outbox = outbox
        self._sources = {
            database.name: Source(
                database,
                self._pumps(database, router),
                hot=database.name in hot,
                sweep_s_max=self.limits.sweep_s_max,
            )
            for database in router
        }

    async def start(self) -> None:
        """Deliver in the background from now on."""
        for name, source in self._sources.items():
            self._outbox.on_publish(name, source.ring)
            source.start()

    async def stop(self) -> None:
        """Finish what is in flight, take nothing new."""
        async with asyncio.TaskGroup() as group:
            for name, source in self._sources.items():
                self._outbox.on_publish(name, None)
                group.create_task(source.stop(STOP_S_MAX))

    async def run_once(self, database: str) -> int:
        """Deliver what the outbox of `database` holds and return how many deliveries that was.

        A handler whose database is away is left out; failpoints and the outbox's own errors pass.
        """
        return await self._sources[database].sweep()

    async def drain(self, *, allow_dead: bool = False) -> int:
        """Deliver until nothing is deliverable in any database; return how many deliveries.

        Raises DeliveriesStuck when something is left, or a database cannot be asked, unless
        `allow_dead`: dead letters, and what waits behind them, for its next attempt, for a
        database that is away or for another relay's lease to end.
        """
        before = self.delivered
        attempts = -1
        while attempts != (attempts := self.delivered + self.failed):
            for source in self._sources.values():
                try:
                    await source.sweep()
                except (Unavailable, StatementTimeout):  # Away, or it hangs.
                    if not allow_dead:
                        raise
        if not allow_dead:
            stuck = [str(each) for name in self._sources for each in await self.backlog(name)]
            if stuck:
                raise DeliveriesStuck(stuck="; ".join(stuck))
        return self.delivered - before

    async def backlog(self, database: str) -> list[Backlog]:
        """What waits in the outbox of `database`, by handler; for metrics."""
        async with self._sources[database].database.transaction(SERVICE, read_only=True) as tx:
            return await list_backlog(tx)

    async def prune(self, database: str) -> int:
        """Forget what is older than the retention; return how many rows that was."""
        return await prune(self._sources[database].database, self.limits.retention)

    @property
    def delivered(self) -> int:
        """Deliveries made since the start, repeated ones counted again."""
        return sum(source.delivered for source in self._sources.values())

    @property
    def failed(self) -> int:
        """Attempts that failed, since the start."""
        return sum(source.failed for source in self._sources.values())

    def _pumps(self, source: OpenDatabase, router: Router) -> dict[str, Pump]:
        limits = self.limits
        return {
            name: Pump(
                source,
                Lessee(source.name, name, limits.lease_s, limits.batch_max, limits.retry),
                Receiver(
                    subscription,
                    router.database(subscription.database),
                    limits.handler_timeout_s,
                ),
            )
            for name, subscription in self._outbox.subscriptions.items()
        }
