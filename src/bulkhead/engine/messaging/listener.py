"""Hints that there is something in an outbox: LISTEN and NOTIFY, and nothing depends on them.

NOTIFY takes a lock over the whole server when it commits, so it never stands in a transaction that
does anything else, and many commits share one.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from bulkhead.engine.clock import monotonic_s
from bulkhead.engine.connections.claims import SERVICE, Role
from bulkhead.engine.connections.database import OpenDatabase
from bulkhead.engine.connections.sql import literal
from bulkhead.engine.drivers.errors import translate
from bulkhead.engine.errors import BulkheadError

if TYPE_CHECKING:
    from bulkhead.engine.connections.router import Router
    from bulkhead.engine.messaging.outbox import Outbox

CHANNEL = "bulkhead_outbox"
INTERVAL_S = 0.05
PAYLOAD_CHARACTERS_MAX = 4000
CHECK_S = 30.0
CHECK_TIMEOUT_S = 5.0
RECONNECT_S_MIN = 0.25
RECONNECT_S_MAX = 30.0

log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class Listener:
    """Rings for what other processes tell in `database`; holds one connection of its own."""

    database: OpenDatabase
    ring: Callable[[frozenset[str]], None]
    """Called with the names that were told, such as handlers'; none means: look everywhere."""
    channel: str = CHANNEL
    connected: bool = False

    async def run(self) -> None:
        """Listen until cancelled; connects again, ever more rarely, when the server is away."""
        pause_s = RECONNECT_S_MIN
        while True:
            began_s = monotonic_s()
            try:
                await self._listen()
            except BulkheadError as error:
                log.debug("not listening in %s: %s", self.database.name, error)
            if monotonic_s() - began_s > CHECK_S:
                pause_s = RECONNECT_S_MIN
            await asyncio.sleep(pause_s * random.uniform(0.5, 1.0))  # noqa: S311
            pause_s = min(2 * pause_s, RECONNECT_S_MAX)

    async def _listen(self) -> None:
        budget = self.database.services.budget
        if not budget.take():
            return
        try:
            connection = await self.database.connect_directly(Role.SERVICE)
            try:
                await self._attend(connection)
            except Exception as error:
                raise translate(error) from error
            finally:
                self.connected = False
                connection.terminate()
        finally:
            budget.give_back()

    async def _attend(self, connection: Any) -> None:  # noqa: ANN401
        lost = asyncio.Event()
        connection.add_termination_listener(lambda _: lost.set())
        await connection.add_listener(self.channel, self._hear)
        self.connected = True
        self.ring(frozenset())
        while not lost.is_set():
            try:
                async with asyncio.timeout(CHECK_S):
                    await lost.wait()
            except TimeoutError:
                await connection.execute("select 1", timeout=CHECK_TIMEOUT_S)

    def _hear(self, _connection: object, _pid: int, _channel: str, payload: object) -> None:
        self.ring(frozenset(str(payload).split(",")) if payload else frozenset())


@dataclass(slots=True, eq=False)
class Notifier:
    """Tells the relays of other processes, where this process publishes but runs no relay.

    The first commit after a quiet moment is told at once, all others of the next 50 ms together.
    """

    router: Router
    outbox: Outbox
    _untold: dict[str, set[str]] = field(default_factory=dict)
    _tasks: dict[str, asyncio.Task[None]] = field(default_factory=dict)

    def start(self) -> None:
        """Notify from now on about every database of the router."""
        for database in self.router:
            self.outbox.on_publish(database.name, partial(self._note, database.name))

    async def stop(self) -> None:
        """Notify no more; what was not told is found by sweeps."""
        for database in self.router:
            self.outbox.on_publish(database.name, None)
        for task in list(self._tasks.values()):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks.values())

    def _note(self, database: str, handlers: frozenset[str]) -> None:
        self._untold.setdefault(database, set()).update(handlers)
        if database not in self._tasks:
            task = asyncio.create_task(self._tell(database))
            self._tasks[database] = task
            task.add_done_callback(lambda _: self._tasks.pop(database, None))

    async def _tell(self, database: str) -> None:
        while handlers := self._untold.pop(database, None):
            names = ",".join(sorted(handlers))
            payload = names if len(names) <= PAYLOAD_CHARACTERS_MAX else ""
            try:
                async with self.router.database(database).transaction(SERVICE) as tx:
                    tx.at_commit("set local synchronous_commit to off")
                    tx.at_commit(f"notify {CHANNEL},{literal(payload)}")
            except BulkheadError as error:
                log.debug("could not notify in %s: %s", database, error)
            await asyncio.sleep(INTERVAL_S)
