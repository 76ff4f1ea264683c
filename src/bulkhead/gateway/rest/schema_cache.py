"""Keeps the schema of a database at hand, and as it is.

It is read when the gateway starts and again when somebody tells (`notify pgrst`, which an event
trigger of ours does after each change of a definition), when a look at the catalogue now and then
finds it changed, or when a request asks for what is not there. Nobody ever waits for it but the
first: until a new one has been read, the last one serves.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from bulkhead.engine.clock import monotonic_s
from bulkhead.engine.connections.claims import Claims, Role
from bulkhead.engine.drivers.errors import SqlError, translate
from bulkhead.engine.errors import BulkheadError
from bulkhead.gateway.rest.errors import SchemaCacheMissing
from bulkhead.gateway.rest.schema_load import load_fingerprint, load_schema

if TYPE_CHECKING:
    from bulkhead.engine.connections.database import OpenDatabase
    from bulkhead.gateway.rest.config import RestConfig
    from bulkhead.gateway.rest.schema import Schema

CHANNEL = "pgrst"
RELOADS = frozenset({"", "reload schema", "reload config"})
"""What may be said on the channel; settings of roles are read with the schema."""
READER = Claims("none")
"""The login itself: the catalogue is open to everybody."""
SNAPSHOT = "set transaction isolation level repeatable read"
LOAD_ATTEMPTS = 3
"""A definition that is dropped while it is read fails the reading."""
CHECK_S_MIN = 0.1
"""Between two looks at the catalogue because of what was not found."""
POLL_S = 10.0
"""Between two looks at the catalogue because nobody may have told."""
LISTENING_POLL_S = 60.0
RECONNECT_S_MIN = 0.25
RECONNECT_S_MAX = 30.0
ALIVE_S = 30.0
ALIVE_TIMEOUT_S = 5.0

log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class SchemaCache:
    """The schema of `database` as far as `config` exposes it."""

    database: OpenDatabase
    config: RestConfig
    listening: asyncio.Event = field(default_factory=asyncio.Event)
    """Set while changes are told; otherwise they are only looked for."""
    _schema: Schema | None = None
    _fingerprint: str = ""
    _checked_at_s: float = float("-inf")
    """When the last look at the catalogue began."""
    _checking: asyncio.Lock = field(default_factory=asyncio.Lock)
    _told: asyncio.Event = field(default_factory=asyncio.Event)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the schema is replaced, and then replaced itself."""
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)

    async def start(self) -> None:
        """Read the schema and follow its changes; a database that is away is asked again later."""
        with contextlib.suppress(SchemaCacheMissing):
            await self.current()
        self._tasks = [
            asyncio.create_task(self._follow(), name=f"schema of {self.database.name}"),
            asyncio.create_task(self._listen(), name=f"schema channel of {self.database.name}"),
        ]

    async def close(self) -> None:
        """Follow changes no more."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        self._tasks = []

    async def current(self) -> Schema:
        """The schema as last read; raises SchemaCacheMissing while it could never be read."""
        if self._schema is None:
            try:
                await self._look(monotonic_s())
            except BulkheadError as error:
                raise SchemaCacheMissing from error
        assert self._schema is not None, "a look that raised nothing has read the schema"
        return self._schema

    async def refresh(self, schema: Schema) -> bool:
        """Whether there is a newer schema than `schema`, of now or of a moment ago.

        What a request did not find may have been made a moment before it came, so this looks at
        the catalogue; but seldom, however many requests ask, which then wait for the same look.
        """
        if self._schema is schema:
            try:
                await self._look(monotonic_s())
            except BulkheadError as error:
                log.debug("could not look at the schema of %s: %s", self.database.name, error)
        return self._schema is not schema

    async def wait_for_change(self, schema: Schema) -> Schema:
        """The first schema that is read after `schema`."""
        while self._schema is None or self._schema is schema:
            await self._changed.wait()
        return self._schema

    async def _look(self, wanted_at_s: float) -> None:
        """Read the schema if the catalogue has changed, as seen at or after `wanted_at_s`."""
        async with self._checking:
            if self._checked_at_s >= wanted_at_s:
                return
            pause_s = self._checked_at_s + CHECK_S_MIN - monotonic_s()
            if pause_s > 0:
                await asyncio.sleep(pause_s)
            began_s = monotonic_s()
            await self._read_if_changed()
            self._checked_at_s = began_s

    async def _read_if_changed(self) -> None:
        for attempt in range(1, LOAD_ATTEMPTS + 1):
            try:
                async with self.database.transaction(READER, read_only=True, first=SNAPSHOT) as tx:
                    fingerprint = await load_fingerprint(tx)
                    if self._schema is not None and fingerprint == self._fingerprint:
                        return
                    before = self._schema
                    version = before.version + 1 if before else 1
                    zones = before.time_zones if before else None
                    found = await load_schema(tx, self.config, version, zones)
            except SqlError:
                if attempt == LOAD_ATTEMPTS:
                    raise
            else:
                self._fingerprint = fingerprint
                if before is None or replace(found, version=before.version) != before:
                    # One that says the same is not taken over: plans are kept by the version.
                    self._schema = found
                    self._changed.set()
                    self._changed = asyncio.Event()
                return

    def _poll_s(self) -> float:
        return LISTENING_POLL_S if self.listening.is_set() else POLL_S

    async def _follow(self) -> None:
        """Look when told to, and now and then."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._poll_s()):
                    await self._told.wait()
            self._told.clear()
            try:
                await self._look(monotonic_s())
            except BulkheadError as error:
                log.warning("the schema of %s could not be read: %s", self.database.name, error)

    async def _listen(self) -> None:
        """Listen until cancelled; connects again, ever more rarely, when the server is away."""
        pause_s = RECONNECT_S_MIN
        while True:
            began_s = monotonic_s()
            try:
                await self._listen_once()
            except BulkheadError as error:
                log.debug("not listening in %s: %s", self.database.name, error)
            if monotonic_s() - began_s > ALIVE_S:
                pause_s = RECONNECT_S_MIN
            await asyncio.sleep(pause_s * random.uniform(0.5, 1.0))  # noqa: S311
            pause_s = min(2 * pause_s, RECONNECT_S_MAX)

    async def _listen_once(self) -> None:
        pool = self.database.clients
        if not pool.budget.take():
            return
        try:
            connection = await self.database.connect_directly(Role.AUTHENTICATED)
            try:
                await self._attend(connection)
            except Exception as error:
                raise translate(error) from error
            finally:
                self.listening.clear()
                connection.terminate()
        finally:
            pool.budget.give_back()

    async def _attend(self, connection: Any) -> None:  # noqa: ANN401 - as drivers give it
        lost = asyncio.Event()
        connection.add_termination_listener(lambda _: lost.set())
        await connection.add_listener(CHANNEL, self._hear)
        self.listening.set()
        self._told.set()  # What was told before is lost.
        while not lost.is_set():
            try:
                async with asyncio.timeout(ALIVE_S):
                    await lost.wait()
            except TimeoutError:
                await connection.execute("select 1", timeout=ALIVE_TIMEOUT_S)

    def _hear(self, _connection: object, _pid: int, _channel: str, payload: object) -> None:
        if payload in RELOADS:
            self._told.set()
