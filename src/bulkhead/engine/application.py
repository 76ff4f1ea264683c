"""An application as the engine, the web layer and the command line see it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bulkhead.engine.messaging.saga import Saga
from bulkhead.engine.messaging.subscription import Subscription
from bulkhead.engine.sealing import Vault
from bulkhead.engine.topology import Topology

if TYPE_CHECKING:
    from bulkhead.engine.fleet.migrate import FleetMigrator
    from bulkhead.engine.monitoring.invariant import Invariant
    from bulkhead.engine.monitoring.metrics import Figure
    from bulkhead.engine.settings import Settings
    from bulkhead.engine.system import System


@dataclass(frozen=True, slots=True)
class Job:
    """Something that is done again and again while the application runs."""

    name: str
    every_s: float
    run: Callable[[System], Awaitable[object]]
    """Repeatable, and safe when several processes do it at once."""


@dataclass(frozen=True, slots=True)
class MigrationFolder:
    """Migrations that a capability brings into one of the application's databases."""

    namespace: str
    database: str
    folder: Path


@dataclass(frozen=True, slots=True)
class Mounted:
    """What an application adds to a running server."""

    routers: Sequence[object] = ()
    """FastAPI routers; the engine does not look inside."""
    streamed: Sequence[object] = ()
    """Addresses that take files, as the web layer knows them."""
    workers: Sequence[Callable[[], Awaitable[None]]] = ()
    """Endless coroutines, cancelled when the server stops."""
    figures: Sequence[Callable[[], Iterable[Figure]]] = ()
    """What is measured besides databases; asked when figures are read, and must not wait."""
    notes: Sequence[str] = ()
    """Lines that `bulkhead up` shows under the application's name."""
    people: Any = None
    """The identity whose API is served, where the application has users."""


@dataclass(frozen=True, slots=True)
class Application:
    """All that others may import of an application: what it declares and how it is mounted."""

    name: str
    title: str
    topology: Topology
    subscriptions: tuple[Subscription, ...] = ()
    outside: Callable[[Settings], Any] = lambda _: None
    """Builds the adapters to the outside world, such as a payment provider."""
    sagas: Callable[[Any], tuple[Saga, ...]] = lambda _: ()
    """Builds the sagas upon those adapters."""
    jobs: tuple[Job, ...] = ()
    invariants: tuple[Invariant, ...] = ()
    migrations: tuple[MigrationFolder, ...] = field(default=())
    """Those of capabilities; the application's own stand in its topology."""
    people: Callable[[System], Any] | None = None
    """Opens the identity of the application's users, where it has any."""
    vault: Callable[[System], Vault] | None = None
    """Opens the vault with the application's secrets, where it keeps any."""
    fleets: Callable[[System], Sequence[FleetMigrator]] | None = None
    """What migrates the databases of its tenants, fleet by fleet, where it has any."""
    mount: Callable[[System], Mounted] | None = None
    load_sample: Callable[[System], Awaitable[Sequence[str]]] | None = None
    """Loads sample data once, and returns lines that tell a person what there is to try."""
