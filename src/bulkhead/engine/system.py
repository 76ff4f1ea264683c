"""A running application: its databases, its messages and its sagas, put together once.

Nothing is looked up from here by name or passed around whole: routes, handlers and steps are given
the few values they need when they are built.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bulkhead.engine.connections.admin import administer
from bulkhead.engine.connections.router import Placement, Router
from bulkhead.engine.drivers.embedded import EmbeddedDriver
from bulkhead.engine.drivers.postgres import PostgresDriver
from bulkhead.engine.drivers.protocol import DatabaseSpec, Driver
from bulkhead.engine.drivers.secret import Secret
from bulkhead.engine.errors import BulkheadError
from bulkhead.engine.ids import new_id
from bulkhead.engine.messaging.delivery import HANDLER_TIMEOUT_S
from bulkhead.engine.messaging.outbox import Outbox
from bulkhead.engine.messaging.relay import Relay, RelayLimits
from bulkhead.engine.messaging.saga_runner import SagaRunner
from bulkhead.engine.messaging.saga_worker import SagaWorker
from bulkhead.engine.migrations.apply import apply
from bulkhead.engine.migrations.files import MigrationSet, load_migrations
from bulkhead.engine.topology import SecurityLevel

if TYPE_CHECKING:
    from bulkhead.engine.application import Application, Job
    from bulkhead.engine.connections.database import OpenDatabase
    from bulkhead.engine.settings import Settings
    from bulkhead.engine.topology import Database

log = logging.getLogger(__name__)

ENGINE_MIGRATIONS = Path(__file__).parent / "migrations" / "engine"
PRUNE_EVERY_S = 600.0
REAP_EVERY_S = 20.0


@dataclass(slots=True, eq=False)
class System:
    """One application over its open databases."""

    application: Application
    settings: Settings
    router: Router
    outside: Any
    """The application's adapters to the outside world, such as its payment provider."""
    outbox: Outbox
    relay: Relay
    sagas: SagaRunner
    saga_worker: SagaWorker
    vault: Any = None
    """The application's vault, where it keeps secrets."""
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)

    def database(self, name: str) -> OpenDatabase:
        """The database called `name`."""
        return self.router.database(name)

    async def start_workers(self) -> None:
        """Deliver events, resume sagas and run the application's jobs, in the background."""
        await self.relay.start()
        self.saga_worker.start()
        for job in self.application.jobs:
            self._tasks.append(asyncio.create_task(self._repeat(job)))
        self._tasks.append(asyncio.create_task(self._keep_house()))

    async def stop_workers(self) -> None:
        """Finish what is in flight and stop."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
            self._tasks.clear()
        await self.saga_worker.stop()
        await self.sagas.drain()
        await self.relay.stop()

    async def close(self) -> None:
        """Stop the workers and close every connection."""
        await self.stop_workers()
        await self.router.close()

    async def _repeat(self, job: Job) -> None:
        while True:
            await asyncio.sleep(job.every_s)
            try:
                await job.run(self)
            except BulkheadError as error:
                log.warning("job %s: %s", job.name, error)
            except Exception:
                log.exception("job %s failed", job.name)

    async def _keep_house(self) -> None:
        since_prune_s = 0.0
        while True:
            await asyncio.sleep(REAP_EVERY_S)
            self.router.reap()
            since_prune_s += REAP_EVERY_S
            if since_prune_s < PRUNE_EVERY_S:
                continue
            since_prune_s = 0.0
            try:
                await self.saga_worker.prune()
                for name in self.router.databases:
                    await self.relay.prune(name)
            except BulkheadError as error:
                log.warning("retention: %s", error)


def build_system(
    application: Application, settings: Settings, placements: Sequence[Placement]
) -> System:
    """Put an application together over databases that are provisioned; connects to nothing."""
    outbox = Outbox(application.name, application.subscriptions)
    router = Router(application.name, tuple(placements), settings, events=outbox)
    outside = application.outside(settings)
    sagas = {saga.name: saga for saga in application.sagas(outside)}
    runner = SagaRunner(router, sagas, _owner(), settings.lease_s)
    limits = RelayLimits(
        lease_s=settings.lease_s,
        handler_timeout_s=min(HANDLER_TIMEOUT_S, settings.lease_s / 2),
    )
    hot = [database.name for database in application.topology.databases if database.hot]
    system = System(
        application,
        settings,
        router,
        outside,
        outbox,
        Relay(router, outbox, hot=hot, limits=limits),
        runner,
        SagaWorker(runner),
    )
    if application.vault is not None:
        system.vault = application.vault(system)
    return system


@asynccontextmanager
async def open_system(
    application: Application, settings: Settings, *, provision: bool = True
) -> AsyncIterator[System]:
    """Start the servers, bring the databases up to date and open the application.

    Workers are not started. With `provision=False` nothing is created or migrated.
    Raises whatever keeps a server from starting, RoleUnsafe, and what keeps a vault locked.
    """
    placements = place(application, settings)
    async with started(placements):
        if provision:
            await provision_all(application, placements)
        system = build_system(application, settings, placements)
        try:
            await system.router.verify()
            if system.vault is not None:
                await system.vault.unlock()
            yield system
        finally:
            await system.close()


@asynccontextmanager
async def started(placements: Sequence[Placement]) -> AsyncIterator[None]:
    """Have the servers of `placements` running inside the block."""
    drivers = list({id(placement.driver): placement.driver for placement in placements}.values())
    try:
        for driver in drivers:
            await driver.start()
        yield
    finally:
        for driver in drivers:
            await driver.stop()


def place(application: Application, settings: Settings) -> tuple[Placement, ...]:
    """Decide where each database lives: at its own DSN, on the given server, or embedded."""
    shared: Driver | None = None
    placements = []
    for database in application.topology.deploy_order:
        url = settings.database_urls.get(f"{application.name}.{database.name}")
        if url is not None:
            driver: Driver = PostgresDriver(url, _secret(settings))
        else:
            shared = shared or _shared_driver(settings)
            driver = shared
        placements.append(Placement(database.name, driver, spec_of(application, database)))
    return tuple(placements)


def spec_of(application: Application, database: Database) -> DatabaseSpec:
    """What the physical database of a logical one is called and has."""
    return DatabaseSpec(
        name=f"{application.name}_{database.name}",
        extensions=database.extensions,
        verified_tls=database.security is SecurityLevel.HIGH,
    )


async def provision_all(application: Application, placements: Sequence[Placement]) -> None:
    """Create and migrate the databases, each after those it refers to."""
    for placement in placements:
        await placement.driver.ensure_database(placement.spec)
        await migrate_database(application, placement)


async def migrate_database(application: Application, placement: Placement) -> None:
    """Bring one database up to date."""
    async with administer(placement) as connection:
        await apply(connection, placement.spec, migration_sets(application, placement.database))


def migration_sets(application: Application, database: str) -> list[MigrationSet]:
    """The migrations of one database in their order: engine, capabilities, application."""
    sets = [load_migrations("engine", ENGINE_MIGRATIONS)]
    sets += [
        load_migrations(folder.namespace, folder.folder)
        for folder in application.migrations
        if folder.database == database
    ]
    home = application.topology.database(database)
    return [*sets, load_migrations(application.name, home.migrations, mirrored=True)]


def _shared_driver(settings: Settings) -> Driver:
    if settings.server_url is not None:
        return PostgresDriver(settings.server_url, _secret(settings))
    return EmbeddedDriver(settings.home)


def _secret(settings: Settings) -> Secret:
    path = settings.home / "secret.key"
    settings.home.mkdir(parents=True, exist_ok=True)
    return Secret.load(path) or Secret.create(path)


def _owner() -> str:
    return f"{socket.gethostname()}:{os.getpid()}:{new_id().hex[-8:]}"
