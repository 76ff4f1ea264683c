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
from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.connections.router import Placement, Router
from bulkhead.engine.drivers.embedded import EmbeddedDriver
from bulkhead.engine.drivers.postgres import PostgresDriver
from bulkhead.engine.drivers.protocol import DatabaseSpec, Driver
from bulkhead.engine.drivers.secret import Secret
from bulkhead.engine.errors import BulkheadError, ConfigurationInvalid
from bulkhead.engine.ids import new_id
from bulkhead.engine.messaging.delivery import HANDLER_TIMEOUT_S
from bulkhead.engine.messaging.outbox import Outbox
from bulkhead.engine.messaging.relay import Relay, RelayLimits
from bulkhead.engine.messaging.saga_runner import SagaRunner
from bulkhead.engine.messaging.saga_worker import SagaWorker
from bulkhead.engine.migrations.apply import apply
from bulkhead.engine.migrations.files import Label, MigrationSet, label_files, load_migrations
from bulkhead.engine.migrations.fit import verify_not_ahead, verify_not_behind
from bulkhead.engine.migrations.registry import list_labels
from bulkhead.engine.ongoing import is_being_cancelled
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
        # A job may fail while it is stopped: what it leased cannot be given back, for example.
        while not is_being_cancelled():
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
    application: Application,
    settings: Settings,
    *,
    provision: bool = True,
    verify: bool = True,
) -> AsyncIterator[System]:
    """Start the servers, bring the databases up to date and open the application.

    Workers are not started. With `provision=False` nothing is created or migrated; then raises
    HomeEmpty where there is nothing at all, and DatabaseBehind for a database that lacks a
    migration, unless `verify` is False. Raises whatever keeps a server from starting, RoleUnsafe,
    and what keeps a vault locked.
    """
    placements = place(application, settings)
    if not provision:
        verify_made(placements)
    async with started(placements):
        if provision:
            await provision_all(application, placements)
        system = build_system(application, settings, placements)
        try:
            await system.router.verify()
            if verify and not provision:
                await verify_databases(system)
            if system.vault is not None:
                await system.vault.unlock()
            yield system
        finally:
            await system.close()


def verify_made(placements: Sequence[Placement]) -> None:
    """Pass where every server is there already; raises HomeEmpty.

    Nobody who only looks, perhaps in a wrong folder, makes a server and its keys.
    """
    for placement in placements:
        if isinstance(placement.driver, EmbeddedDriver):
            placement.driver.verify_made()


async def verify_databases(system: System) -> None:
    """Pass where every database has had the migrations of this program; raises DatabaseBehind."""
    application = system.application
    for name in system.router.databases:
        known, had = _known_labels(application, name), await _list_had(system, name)
        verify_not_behind(application.name, name, known, had)


async def explain_failure(system: System) -> None:
    """Raise DatabaseAhead where a statement may have failed because a newer release was here."""
    for name in system.router.databases:
        known = _known_labels(system.application, name)
        verify_not_ahead(name, known, await _list_had(system, name))


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
        name = f"{application.name}.{database.name}"
        url = settings.database_urls.get(name)
        direct = settings.database_direct_urls.get(name)
        if url is not None:
            driver: Driver = _postgres(settings, url, direct)
        elif direct is not None:
            raise _without_url(f"DATABASE_{name.replace('.', '__').upper()}")
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
    return [
        load_migrations(namespace, folder, mirrored=namespace == application.name)
        for namespace, folder in _migration_folders(application, database)
    ]


def _migration_folders(application: Application, database: str) -> list[tuple[str, Path]]:
    capabilities = [
        (each.namespace, each.folder)
        for each in application.migrations
        if each.database == database
    ]
    home = application.topology.database(database)
    return [("engine", ENGINE_MIGRATIONS), *capabilities, (application.name, home.migrations)]


def _known_labels(application: Application, database: str) -> list[Label]:
    folders = _migration_folders(application, database)
    return [label for namespace, folder in folders for label in label_files(namespace, folder)]


async def _list_had(system: System, database: str) -> tuple[Label, ...]:
    async with system.database(database).transaction(SERVICE, read_only=True) as tx:
        return await list_labels(tx)


def _shared_driver(settings: Settings) -> Driver:
    if settings.server_url is not None:
        return _postgres(settings, settings.server_url, settings.server_direct_url)
    if settings.server_direct_url is not None:
        raise _without_url("SERVER")
    return EmbeddedDriver(settings.home)


def _postgres(settings: Settings, url: str, direct: str | None) -> Driver:
    """The server at `url`, which is a pooler's where the server has a `direct` one of its own."""
    pooler = None if direct is None else url
    return PostgresDriver(direct or url, _secret(settings), pooler=pooler)


def _without_url(name: str) -> ConfigurationInvalid:
    return ConfigurationInvalid(
        reason=f"BULKHEAD_{name}_DIRECT_URL goes with BULKHEAD_{name}_URL, the pooler's, which "
        "is not given"
    )


def _secret(settings: Settings) -> Secret:
    path = settings.home / "secret.key"
    settings.home.mkdir(parents=True, exist_ok=True)
    return Secret.load(path) or Secret.create(path)


def _owner() -> str:
    return f"{socket.gethostname()}:{os.getpid()}:{new_id().hex[-8:]}"
