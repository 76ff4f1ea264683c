"""Fixtures for tests of applications: databases in milliseconds, and certainty about order.

An application's databases are built once per test session and cloned for each test. `drain` makes
everything happen that is due, `crash_at` makes the process "die" at a named point, and `restarted`
opens the same databases anew, as the next process would.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from bulkhead.engine import failpoints
from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.connections.router import Placement
from bulkhead.engine.drivers.embedded import EmbeddedDriver
from bulkhead.engine.failpoints import FailpointReached, Mode
from bulkhead.engine.settings import Settings
from bulkhead.engine.system import System, build_system, migrate_database, spec_of

if TYPE_CHECKING:
    from bulkhead.engine.application import Application
    from bulkhead.engine.drivers.protocol import DatabaseSpec

DRAIN_ROUNDS_MAX = 200
MEMORY = Path("/dev/shm")  # noqa: S108 - mkdtemp makes a private folder in it
MEMORY_BYTES_MIN = 2 * 1024**3

_numbers = count(1)


@dataclass(slots=True, eq=False)
class TestServers:
    """Embedded servers of a test session, with a template of every database of an application."""

    __test__ = False

    home: Path
    drivers: dict[str, EmbeddedDriver] = field(default_factory=dict)
    _templates: dict[tuple[str, str, str], DatabaseSpec] = field(default_factory=dict)

    async def driver(self, name: str) -> EmbeddedDriver:
        """The server called `name`, started when first asked for."""
        if name not in self.drivers:
            driver = EmbeddedDriver(self.home / name, durable=False)
            await driver.start()
            self.drivers[name] = driver
        return self.drivers[name]

    async def stop(self) -> None:
        """Stop every server."""
        for driver in self.drivers.values():
            await driver.stop()
        self.drivers.clear()

    @asynccontextmanager
    async def system(
        self, application: Application, settings: Settings | None = None, *, apart: bool = False
    ) -> AsyncIterator[System]:
        """Open `application` over databases of its own, all on one server or each `apart`.

        Workers do not run by themselves: `drain` does their work when the test wants it done.
        """
        placements = [
            await self._clone(application, database.name, database.name if apart else "shared")
            for database in application.topology.deploy_order
        ]
        settings = settings or Settings(home=self.home)
        system = build_system(application, settings, placements)
        try:
            yield system
        finally:
            await system.close()
            for placement in placements:
                await placement.driver.drop_database(placement.spec)

    async def _clone(self, application: Application, database: str, server: str) -> Placement:
        driver = await self.driver(server)
        template = await self._template(application, database, server)
        spec = replace(
            template,
            name=f"t{next(_numbers)}_{database}",
            template=template.name,
            role_prefix=template.name,
        )
        await driver.ensure_database(spec)
        return Placement(database, driver, spec)

    async def _template(self, application: Application, database: str, server: str) -> DatabaseSpec:
        key = (server, application.name, database)
        if key not in self._templates:
            driver = await self.driver(server)
            spec = spec_of(application, application.topology.database(database))
            await driver.ensure_database(spec)
            await migrate_database(application, Placement(database, driver, spec))
            await driver.seal_template(spec)
            self._templates[key] = spec
        return self._templates[key]


@asynccontextmanager
async def open_test_servers() -> AsyncIterator[TestServers]:
    """Embedded servers in a temporary folder, for the length of a test session."""
    home = _make_home()
    servers = TestServers(home)
    try:
        yield servers
    finally:
        await servers.stop()
        shutil.rmtree(home, ignore_errors=True)


def _make_home() -> Path:
    """A folder in memory where there is one: a clone is hundreds of files, ten times faster."""
    memory = MEMORY if MEMORY.is_dir() and _free_bytes(MEMORY) > MEMORY_BYTES_MIN else None
    home = Path(tempfile.mkdtemp(prefix="bulkhead-", dir=memory))
    home.chmod(0o755)  # The server runs as another user when the tests run as root.
    return home


def _free_bytes(path: Path) -> int:
    return shutil.disk_usage(path).free


@asynccontextmanager
async def restarted(system: System) -> AsyncIterator[System]:
    """The next process over the same databases; leases of the dead one have run out."""
    async with AsyncExitStack() as stack:
        stack.callback(failpoints.disarm)
        await system.sagas.drain()
        await expire_leases(system)
        after = build_system(system.application, system.settings, system.router.placements)
        stack.push_async_callback(after.close)
        yield after


@contextmanager
def crash_at(point: str, mode: Mode = Mode.RAISE, *, after: int = 0) -> Iterator[None]:
    """Let whoever reaches `point` in the block die there; the block swallows that death.

    Fails when the point was not reached.
    """
    assert point in failpoints.registered(), f"no failpoint is called '{point}'"
    reached: list[str] = []
    failpoints.observe(reached.append)
    failpoints.arm(point, mode, after=after)
    try:
        yield
    except FailpointReached:
        pass
    except BaseExceptionGroup as group:
        _, others = group.split(FailpointReached)
        if others is not None:
            raise others from None
    finally:
        failpoints.observe(None)
        failpoints.disarm(point)
    assert point in reached, f"'{point}' was not reached; passed were {reached}"


async def drain(system: System, *, allow_dead: bool = False) -> None:
    """Deliver every event and resume every saga that is due, until there is nothing left."""
    for _ in range(DRAIN_ROUNDS_MAX):
        await system.sagas.drain()
        resumed = await system.saga_worker.run_once()
        delivered = await system.relay.drain(allow_dead=allow_dead)
        if not resumed and not delivered:
            return
    message = f"still busy after {DRAIN_ROUNDS_MAX} rounds"
    raise AssertionError(message)


async def expire_leases(system: System) -> None:
    """Let the leases of sagas and deliveries run out, as time would."""
    for database in system.router:
        async with database.transaction(SERVICE) as tx:
            await tx.execute(
                "update bulkhead.sagas set leased_until = 'epoch'"
                " where state in ('running', 'compensating')"
            )
            await tx.execute(
                "update bulkhead.deliveries set leased_until = 'epoch', available_at = 'epoch'"
                " where dead_at is null"
            )


async def pass_deadlines(system: System) -> None:
    """Let the deadlines of sagas and the grace of their markers pass, as time would."""
    for database in system.router:
        async with database.transaction(SERVICE) as tx:
            await tx.execute(
                "update bulkhead.sagas set deadline_at = 'epoch', leased_until = 'epoch'"
                " where state in ('running', 'compensating')"
            )
            await tx.execute(
                "update bulkhead.saga_steps set created_at = 'epoch' where settled_at is null"
            )
