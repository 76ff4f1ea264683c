"""Fixtures for tests of applications: databases in milliseconds, and certainty about order.

An application's databases are built once per test session and cloned for each test. `drain` makes
everything happen that is due, `crash_at` makes the process "die" at a named point, and `restarted`
opens the same databases anew, as the next process would.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bulkhead.engine import failpoints
from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.connections.database import OpenDatabase
from bulkhead.engine.connections.router import Placement
from bulkhead.engine.connections.sql import identifier, literal
from bulkhead.engine.drivers.embedded import EmbeddedDriver
from bulkhead.engine.drivers.protocol import DatabaseSpec, Driver, Login
from bulkhead.engine.failpoints import FailpointReached, Mode
from bulkhead.engine.fleet.databases import Databases
from bulkhead.engine.fleet.fleet import Fleet
from bulkhead.engine.fleet.limits import FleetLimits
from bulkhead.engine.fleet.model import ServerKind, TenantId, TenantPlace, TenantState
from bulkhead.engine.fleet.outside import OutsidePostgres, dial_plainly
from bulkhead.engine.fleet.registry import (
    ServerEntry,
    add_server,
    add_tenant,
    remove_tenant,
    set_state,
)
from bulkhead.engine.fleet.seals import Seals
from bulkhead.engine.ids import new_id
from bulkhead.engine.sealing import SealBroken, SealContext
from bulkhead.engine.settings import Settings
from bulkhead.engine.system import System, build_system, migrate_database, spec_of
from bulkhead.engine.testing_clones import Clones

if TYPE_CHECKING:
    from bulkhead.engine.application import Application

DRAIN_ROUNDS_MAX = 200
MEMORY = Path("/dev/shm")  # noqa: S108 - mkdtemp makes a private folder in it
MEMORY_BYTES_MIN = 2 * 1024**3
TENANT_SCHEMA = """
create table public._identity (tenant_id uuid primary key);
create table public.notes (
  id uuid primary key default gen_random_uuid(),
  owner uuid not null,
  body text not null,
  price numeric(12, 2),
  details jsonb
);
"""
"""What a tenant's database has where a test does not say otherwise."""

_numbers = count(1)


@dataclass(slots=True, eq=False)
class TestServers:
    """Embedded servers of a test session, with a template of every database of an application."""

    __test__ = False

    home: Path
    drivers: dict[str, EmbeddedDriver] = field(default_factory=dict)
    _clones: dict[str, Clones] = field(default_factory=dict)
    _templates: dict[tuple[str, str, str], DatabaseSpec] = field(default_factory=dict)
    _tenants: dict[tuple[str, str], DatabaseSpec] = field(default_factory=dict)
    """Templates of tenants, by server and schema."""

    async def driver(self, name: str) -> EmbeddedDriver:
        """The server called `name`, started when first asked for."""
        if name not in self.drivers:
            driver = EmbeddedDriver(self.home / name, durable=False)
            await driver.start()
            self.drivers[name] = driver
        return self.drivers[name]

    async def create_clone(self, server: str, template: DatabaseSpec, name: str) -> DatabaseSpec:
        """Clone a sealed template that the driver has made on `server`."""
        return await self._clones_at(server).create(template, name)

    async def drop_clone(self, server: str, spec: DatabaseSpec) -> None:
        """Drop what `create_clone` made on `server`."""
        await self._clones_at(server).drop(spec)

    def _clones_at(self, server: str) -> Clones:
        if server not in self._clones:
            self._clones[server] = Clones(self.drivers[server])
        return self._clones[server]

    async def stop(self) -> None:
        """Stop every server."""
        for clones in self._clones.values():
            clones.close()
        async with asyncio.TaskGroup() as group:
            for driver in self.drivers.values():
                group.create_task(driver.stop())
        self.drivers.clear()
        self._clones.clear()

    @asynccontextmanager
    async def system(
        self, application: Application, settings: Settings | None = None, *, apart: bool = False
    ) -> AsyncIterator[System]:
        """Open `application` over databases of its own, all on one server or each `apart`.

        Workers do not run by themselves: `drain` does their work when the test wants it done.
        """
        names = [database.name for database in application.topology.deploy_order]
        on = {name: name if apart else "shared" for name in names}
        placements = [await self._clone(application, name, on[name]) for name in names]
        settings = settings or Settings(home=self.home)
        system = build_system(application, settings, placements)
        try:
            yield system
        finally:
            await system.close()
            for placement in placements:
                await self.drop_clone(on[placement.database], placement.spec)

    @asynccontextmanager
    async def fleet(
        self,
        registry: OpenDatabase,
        *,
        tenants: int = 3,
        connections: int = 60,
        on: Sequence[str] = ("shared",),
        schema: str = TENANT_SCHEMA,
        limits: FleetLimits | None = None,
    ) -> AsyncIterator[TestFleet]:
        """A fleet of `tenants` active tenants, in turn on the servers called `on`.

        Each server is given so many `connections` at most.
        Each is a clone of one template with `schema`, and knows whose it is by its `_identity`.
        """
        drivers: dict[str, Driver] = {name: await self.driver(name) for name in on}
        databases = Databases(
            registry,
            Seals(f"{registry.application}.{registry.name}", _NoSealer()),
            drivers=drivers,
            outside={ServerKind.POSTGRESQL: lambda config: OutsidePostgres(config, dial_plainly)},
        )
        fleet = TestFleet(Fleet("test", databases, limits or FleetLimits()), drivers, schema, self)
        try:
            async with registry.transaction(SERVICE) as tx:
                for name in on:
                    await add_server(
                        tx, ServerEntry(name, ServerKind.POSTGRESQL, name, 10_000, connections)
                    )
            for number in range(tenants):
                await fleet.add(on[number % len(on)])
            yield fleet
        finally:
            await fleet.close()

    async def _clone(self, application: Application, database: str, server: str) -> Placement:
        driver = await self.driver(server)
        template = await self._template(application, database, server)
        spec = await self.create_clone(server, template, f"t{next(_numbers)}_{database}")
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

    async def tenant_template(self, server: str, schema: str) -> DatabaseSpec:
        """A sealed database with `schema` on `server`; made once, and kept as it is."""
        key = (server, schema)
        if key not in self._tenants:
            driver = self.drivers[server]
            spec = DatabaseSpec(f"f{next(_numbers)}_template")
            await driver.ensure_database(spec)
            connection = await driver.connect(spec, Login.ADMIN, timeout_s=10)
            try:
                await connection.execute(f"set role {identifier(spec.owner)};{schema}")
            finally:
                await connection.close()
            await driver.seal_template(spec)
            self._tenants[key] = spec
        return self._tenants[key]


@dataclass(slots=True, eq=False)
class TestFleet:
    """A fleet with what a test wants to know of it."""

    __test__ = False

    fleet: Fleet
    drivers: Mapping[str, Driver]
    schema: str
    test_servers: TestServers
    tenants: list[TenantId] = field(default_factory=list)
    specs: dict[TenantId, DatabaseSpec] = field(default_factory=dict)
    servers: dict[TenantId, str] = field(default_factory=dict)

    @property
    def registry(self) -> OpenDatabase:
        """Where the fleet's registry is."""
        return self.fleet.databases.registry

    async def add(self, server: str) -> TenantId:
        """Make another tenant on `server`, in a few hundredths of a second."""
        template = await self.test_servers.tenant_template(server, self.schema)
        tenant, name = TenantId(new_id()), f"f{next(_numbers)}"
        spec = await self.test_servers.create_clone(server, template, name)
        self.specs[tenant], self.servers[tenant] = spec, server
        async with self.administer(tenant) as connection:
            await connection.execute(
                f"set role {identifier(spec.owner)};"
                f"insert into public._identity (tenant_id) values ({literal(tenant)})"
            )
        place = TenantPlace(ServerKind.POSTGRESQL, server, name, template.name, None, None)
        async with self.registry.transaction(SERVICE) as tx:
            await add_tenant(tx, tenant, self.fleet.name, place)
            await set_state(tx, tenant, TenantState.ACTIVE, expected=[TenantState.PROVISIONING])
        self.tenants.append(tenant)
        return tenant

    @asynccontextmanager
    async def administer(self, tenant: TenantId) -> AsyncIterator[Any]:
        """A connection of the administrator to the tenant's database."""
        driver = self.drivers[self.servers[tenant]]
        connection = await driver.connect(self.specs[tenant], Login.ADMIN, timeout_s=10)
        try:
            yield connection
        finally:
            await connection.close()

    async def close(self) -> None:
        """Close the fleet and drop its databases."""
        await self.fleet.close()
        async with self.registry.transaction(SERVICE) as tx:
            for tenant in self.tenants:
                await remove_tenant(tx, tenant)
        for tenant, spec in self.specs.items():
            await self.test_servers.drop_clone(self.servers[tenant], spec)


class _NoSealer:
    """Seals nothing: tests of fleets are not tests of seals."""

    async def seal(self, plain: bytes, context: SealContext) -> bytes:
        return context.place.encode() + b"\0" + plain

    async def open(self, sealed: bytes, context: SealContext) -> bytes:
        place, _, plain = sealed.partition(b"\0")
        if place.decode() != context.place:
            raise SealBroken(place=context.place)
        return plain

    def forget(self, tenant: str) -> None:
        pass


@asynccontextmanager
async def open_test_servers() -> AsyncIterator[TestServers]:
    """Embedded servers in a temporary folder, for the length of a test session."""
    home = make_home()
    servers = TestServers(home)
    try:
        yield servers
    finally:
        await servers.stop()
        shutil.rmtree(home, ignore_errors=True)


def make_home() -> Path:
    """A folder in memory where there is one: a clone is hundreds of files, ten times faster.

    Every account may pass through it, unlike pytest's own. Whoever makes it removes it.
    """
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
