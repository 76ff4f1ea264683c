"""Provisioning over real servers, and what it leaves behind."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import sqlalchemy as sa
from tests.integration.engine.provisioning.tables import SHELVES, TABLES, schema_of

from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.connections.database import OpenDatabase
from bulkhead.engine.drivers.endpoint import Tls
from bulkhead.engine.drivers.postgres_connection import PostgresConnection
from bulkhead.engine.drivers.protocol import DatabaseSpec, Driver, Login, ServerConnection
from bulkhead.engine.egress import Egress
from bulkhead.engine.egress.address import LOOPBACK
from bulkhead.engine.extract.introspect import introspect
from bulkhead.engine.fleet.databases import Databases
from bulkhead.engine.fleet.fleet import Fleet
from bulkhead.engine.fleet.guarded import guarded_by
from bulkhead.engine.fleet.model import (
    ConnectionConfig,
    SecretText,
    ServerKind,
    TenantId,
    TenantState,
)
from bulkhead.engine.fleet.mysql import outside_mysql
from bulkhead.engine.fleet.outside import OutsidePostgres
from bulkhead.engine.fleet.registry import ServerEntry, add_server, find_tenant
from bulkhead.engine.fleet.seals import Seals
from bulkhead.engine.ids import new_id
from bulkhead.engine.provisioning.job import JobState, ProvisioningJob, ProvisioningRequest
from bulkhead.engine.provisioning.schema import FleetSchema
from bulkhead.engine.provisioning.service import (
    Provisioning,
    ProvisioningLimits,
    build_provisioning,
)
from bulkhead.engine.provisioning.spares import spec_of_tenant
from bulkhead.engine.sealing import SealBroken, SealContext

LOOKOUT = DatabaseSpec("lookout")
"""From where to look at a server that does not have the registry."""
_numbers = count(1)


@dataclass(slots=True, eq=False)
class Sealer:
    """Seals by putting the place in front; counts what it was asked."""

    sealed: int = 0

    async def seal(self, plain: bytes, context: SealContext) -> bytes:
        self.sealed += 1
        return context.place.encode() + b"\0" + bytes(byte ^ 0x55 for byte in plain)

    async def open(self, sealed: bytes, context: SealContext) -> bytes:
        place, _, plain = sealed.partition(b"\0")
        if place.decode() != context.place:
            raise SealBroken(place=context.place)
        return bytes(byte ^ 0x55 for byte in plain)

    def forget(self, tenant: str) -> None:
        pass


@dataclass(slots=True, eq=False)
class Workshop:
    """A fleet with one server, of a kind, and the databases of owners on the same server."""

    kind: ServerKind
    databases: Databases
    driver: Driver
    schema: FleetSchema
    provisioning: Provisioning = field(init=False)
    forgotten: list[TenantId] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.provisioning = self.again()

    @property
    def fleet(self) -> str:
        return self.schema.fleet

    @property
    def registry(self) -> OpenDatabase:
        return self.databases.registry

    def again(self, limits: ProvisioningLimits | None = None, *, version: int = 1) -> Provisioning:
        """The provisioning of another process, or of the next one."""
        schema = self.schema if version == 1 else schema_of(self.fleet, version)
        owner = f"test {next(_numbers)}"
        return build_provisioning(self.databases, [schema], owner, limits, self._forget)

    async def _forget(self, tenant: TenantId) -> None:
        self.forgotten.append(tenant)

    def request(self, label: str = "Bookshop", **others: Any) -> ProvisioningRequest:
        tenant = others.pop("tenant", TenantId(new_id()))
        return ProvisioningRequest(tenant, self.fleet, label, self.kind, **others)

    async def provision(self, request: ProvisioningRequest | None = None) -> ProvisioningJob:
        """Start a job and work until there is nothing to do."""
        job = await self.provisioning.start(request or self.request())
        return await self.finish(job)

    async def finish(self, job: ProvisioningJob) -> ProvisioningJob:
        """Work on what is due, letting pauses pass, until the job has ended."""
        for _ in range(80):
            await self.provisioning.run_once()
            found = await self.provisioning.get(job.id)
            if found.has_ended:
                return found
            await self.hurry()
        message = f"the job does not end: {found}"
        raise AssertionError(message)

    async def hurry(self) -> None:
        """Let leases run out and pauses be over, as time would."""
        async with self.registry.transaction(SERVICE) as tx:
            await tx.execute(
                "update bulkhead.provisioning_jobs set leased_until = null, due_at = 'epoch'"
                " where finished_at is null"
            )
            await tx.execute(
                "update bulkhead.fleet_spares set leased_until = 'epoch' where state <> 'ready'"
            )

    async def verify_served(self, job: ProvisioningJob, label: str = "Bookshop") -> None:
        """The tenant is active, and its database is complete and its own."""
        assert job.state is JobState.ACTIVE, job
        assert (job.progress, job.error, job.sealed_config) == (100, None, None)
        assert (job.tables_created, job.total_tables) == (len(TABLES), len(TABLES))
        fleet = Fleet(self.fleet, self.databases)
        try:
            row = await fleet.describe(job.tenant)
            assert row.state is TenantState.ACTIVE
            assert row.schema_version == self.schema.version
            async with fleet.connection(job.tenant) as connection:
                rows = await connection.fetch(sa.select(SHELVES.c.id, SHELVES.c.name))
            assert [(row["id"], row["name"]) for row in rows] == [(job.tenant, label)]
        finally:
            await fleet.close()

    async def verify_clean(self, job: ProvisioningJob, state: JobState = JobState.FAILED) -> None:
        """Nothing is left of a job but its row: no database, no login, no secret, no tenant."""
        assert job.state is state, job
        assert job.error is not None
        assert job.error["message"]
        assert "left_behind" not in job.error
        assert job.sealed_config is None
        async with self.registry.transaction(SERVICE) as tx:
            assert await find_tenant(tx, job.tenant) is None
        assert await self.orphans() == []
        assert self.forgotten[-1] == job.tenant

    async def orphans(self) -> list[str]:
        """Databases and logins of the fleet on its server that nobody is known to have."""
        async with self.registry.transaction(SERVICE) as tx:
            tenants = await tx.fetch("select database from bulkhead.fleet_tenants")
            spares = await tx.fetch("select name as database from bulkhead.fleet_spares")
        known = {row["database"] for row in (*tenants, *spares)}
        found = await self.databases_of_fleet() | await self.logins_of_fleet()
        return sorted(found - known)

    async def databases_of_fleet(self) -> set[str]:
        """The databases whose names begin as the fleet's do."""
        if self.kind is ServerKind.MYSQL:
            rows = await self.look("select schema_name as name from information_schema.schemata")
        else:
            rows = await self.look("select datname as name from pg_database")
        return {name for row in rows if (name := str(row["name"])).startswith(self.prefix)}

    async def logins_of_fleet(self) -> set[str]:
        """The databases for which there are logins."""
        if self.kind is ServerKind.MYSQL:
            rows = await self.look("select user as name from mysql.user")
        else:
            rows = await self.look("select rolname as name from pg_roles where rolcanlogin")
        names = {str(row["name"]) for row in rows}
        return {name.rpartition("_")[0] for name in names if name.startswith(self.prefix)}

    @property
    def prefix(self) -> str:
        """How the names of the fleet's databases begin."""
        return f"{self.fleet[:7].rstrip('_')}_"

    async def look(self, sql: str, database: str = "") -> list[Mapping[str, Any]]:
        """What the server's administrator sees."""
        async with self.opened(database) as connection:
            return [dict(row) for row in await connection.fetch(sql, (), timeout_s=10)]

    async def change(self, *statements: str, database: str = "") -> None:
        """What the server's administrator does."""
        async with self.opened(database) as connection:
            for statement in statements:
                await connection.execute(statement, (), timeout_s=10)

    @asynccontextmanager
    async def opened(self, database: str = "") -> AsyncIterator[ServerConnection]:
        """A connection of the server's administrator."""
        spec = DatabaseSpec(database or "mysql") if self.is_mysql or database else self.any_spec
        raw: Any = await self.driver.connect(spec, Login.ADMIN, timeout_s=10)
        connection: ServerConnection = raw if self.is_mysql else PostgresConnection(raw)
        try:
            yield connection
        finally:
            connection.terminate()

    @property
    def is_mysql(self) -> bool:
        return self.kind is ServerKind.MYSQL

    @property
    def any_spec(self) -> DatabaseSpec:
        """A database of the server that is always there."""
        return self.registry.spec if self.driver is self.registry.driver else LOOKOUT

    @asynccontextmanager
    async def owned(self, *statements: str) -> AsyncIterator[ConnectionConfig]:
        """An empty database that its owner has on the server, after `statements` of his."""
        number = next(_numbers)
        name, user, password = f"owned{number}", f"owner{number}", "correct horse battery"
        if self.is_mysql:
            await self.change(
                f"create database {name} character set utf8mb4",
                f"create user {user}@'%%' identified by '{password}'",
                f"grant all privileges on {name}.* to {user}@'%%'",
            )
            ending = [f"drop database {name}", f"drop user {user}@'%%'"]
        else:
            await self.change(
                f"create role {user} login password '{password}'",
                f"create database {name} owner {user}",
            )
            ending = [f"drop database if exists {name} with (force)", f"drop role {user}"]
        driver: Any = getattr(self.driver, "_driver", self.driver)
        endpoint = driver.endpoint
        config = ConnectionConfig(
            self.kind, "127.0.0.1", endpoint.port, name, user, SecretText(password), Tls.DISABLE
        )
        try:
            await self.run_as_owner(config, *statements)
            yield config
        finally:
            await self.change(*ending)

    async def run_as_owner(self, config: ConnectionConfig, *statements: str) -> None:
        """What the owner of a database does there."""
        connection = await self.databases.reach(config).connect(timeout_s=10)
        try:
            for statement in statements:
                await connection.execute(statement, (), timeout_s=10)
        finally:
            connection.terminate()

    async def tables_of(self, config: ConnectionConfig) -> list[str]:
        """The tables of an owner's database."""
        connection = await self.databases.reach(config).connect(timeout_s=10)
        try:
            return sorted((await introspect(connection)).tables)
        finally:
            connection.terminate()


def databases_of(registry: OpenDatabase, driver: Driver) -> Databases:
    """A fleet's server `here`, and the databases of owners on loopback."""
    egress = Egress(LOOPBACK)
    return Databases(
        registry,
        Seals(f"{registry.application}.{registry.name}", Sealer()),
        drivers={"here": driver},
        outside={
            ServerKind.POSTGRESQL: lambda config: OutsidePostgres(config, guarded_by(egress)),
            ServerKind.MYSQL: outside_mysql(egress),
        },
    )


@asynccontextmanager
async def open_workshop(
    registry: OpenDatabase, kind: ServerKind, driver: Driver
) -> AsyncIterator[Workshop]:
    """A fleet of its own on the server of `driver`, gone afterwards."""
    databases = databases_of(registry, driver)
    async with registry.transaction(SERVICE) as tx:
        await add_server(tx, ServerEntry("here", kind, "here", 1000))
    schema = schema_of(f"w{next(_numbers)}")
    workshop = Workshop(kind, databases, driver, schema)
    try:
        yield workshop
    finally:
        names = await workshop.databases_of_fleet() | await workshop.logins_of_fleet()
        dialect = driver.dialect
        for name in names:
            await driver.drop_database(spec_of_tenant(schema, dialect, name))
        if not workshop.is_mysql:
            await workshop.change(f"drop role if exists {schema.fleet}_owner")
