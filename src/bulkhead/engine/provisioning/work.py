"""One go at a job: the job as this worker knows it, and the database that it works on."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace

from bulkhead.engine.clock import monotonic_s
from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.connections.database import OpenDatabase
from bulkhead.engine.connections.transaction import Transaction
from bulkhead.engine.errors import ConfigurationInvalid
from bulkhead.engine.fleet.connection import TenantConnection
from bulkhead.engine.fleet.databases import Databases
from bulkhead.engine.fleet.model import ConnectionConfig, ServerRow, TenantId
from bulkhead.engine.provisioning.job import (
    JobLost,
    JobMode,
    ProvisioningCancelled,
    ProvisioningJob,
    StepName,
)
from bulkhead.engine.provisioning.schema import FleetSchema
from bulkhead.engine.provisioning.spares import Spares, spec_of_tenant
from bulkhead.engine.provisioning.store import (
    MESSAGE_CHARACTERS_MAX,
    QUERIES,
    SOON,
    Opening,
    note_place,
)
from bulkhead.engine.provisioning.tables import Building
from bulkhead.engine.provisioning.target import (
    Target,
    has_client_roles,
    managed_target,
    outside_target,
)

LEASE_S = 30.0
WARM, TEMPLATE, STATEMENTS = "warm", "template", "statements"
"""What a database was made from."""


@dataclass(frozen=True, slots=True, eq=False)
class Shop:
    """What a worker works with: the registry, the servers and the schemas of the fleets."""

    databases: Databases
    schemas: Mapping[str, FleetSchema]
    spares: Mapping[str, Spares]
    lease_s: float = LEASE_S
    forget: Callable[[TenantId], Awaitable[None]] | None = None
    """Destroys the keys of a tenant that there will not be."""

    @property
    def registry(self) -> OpenDatabase:
        """Where jobs and tenants are kept."""
        return self.databases.registry


@dataclass(slots=True, eq=False)
class Work:
    """A job in progress; close it to give up the connections it has opened."""

    shop: Shop
    job: ProvisioningJob
    schema: FleetSchema
    step: StepName | None = None
    title: str = ""
    share: int = 0
    tables: tuple[int, int] = (0, 0)
    """Of the schema's tables, how many are there, and how many there shall be."""
    fingerprint: str | None = None
    """Of the tables, once the building is known."""
    told_at_s: float = -math.inf
    _target: Target | None = None
    _building: Building | None = None
    _owner: TenantConnection | None = None
    _tenant: TenantConnection | None = None
    _ahead: asyncio.Task[TenantConnection] | None = None
    _stack: AsyncExitStack = field(default_factory=AsyncExitStack)

    @property
    def spares(self) -> Spares:
        """The spares of the job's fleet."""
        return self.shop.spares[self.job.fleet]

    @property
    def is_made_of_statements(self) -> bool:
        """Whether the tables are still to be made: they were not cloned."""
        return self.job.source == STATEMENTS

    async def tell(self, message: str) -> None:
        """Say what is being done; keeps the lease.

        Raises JobLost, and ProvisioningCancelled when somebody wishes so.
        """
        async with self.shop.registry.transaction(SERVICE) as tx:
            tx.at_commit(SOON)
            row = await tx.fetchrow(
                QUERIES.note_progress,
                *(self.job.id, self.job.fence, self.step and self.step.value, self.share),
                *(message[:MESSAGE_CHARACTERS_MAX], *self.tables, self.shop.lease_s),
            )
        self.told_at_s = monotonic_s()
        if row is None:
            raise JobLost(job=self.job.id)
        if row["cancelling"]:
            raise ProvisioningCancelled

    async def place(self, tx: Transaction, server: str | None, database: str, source: str) -> None:
        """Note where the database will be, and say that it is being opened.

        Raises JobLost, ProvisioningCancelled; call `placed` once `tx` has committed.
        """
        opening = Opening(server, database, source, self.share, self.title)
        await note_place(tx, self.job, opening)

    def placed(self, server: str | None, database: str, source: str) -> None:
        """Know where the database is, as the registry does."""
        self.job = replace(self.job, server=server, database=database, source=source)
        self.told_at_s = monotonic_s()
        self._target = None

    async def config(self) -> ConnectionConfig:
        """How the database of an owner is reached; raises SealBroken, ConfigurationInvalid."""
        sealed = self.job.sealed_config
        if sealed is None:
            raise ConfigurationInvalid(reason="the job has no connection any more")
        return await self.shop.databases.seals.open_job(self.job.tenant, self.job.id, sealed)

    async def target(self) -> Target:
        """The database; connects to nothing. Raises SealBroken, ConfigurationInvalid."""
        if self._target is None:
            self._target = await self._find_target()
        return self._target

    async def owner(self) -> TenantConnection:
        """A connection that may change the schema, the same one each time."""
        if self._owner is None:
            target = await self.target()
            self._owner = await self._stack.enter_async_context(target.as_owner())
        return self._owner

    async def tenant(self) -> TenantConnection:
        """A connection with the tenant's rights, the same one each time."""
        target = await self.target()
        if not target.is_managed:
            return await self.owner()  # One login does everything there.
        if self._tenant is None:
            ahead, self._ahead = self._ahead, None
            self._tenant = await (ahead or self._connect(target))
        return self._tenant

    def connect_ahead(self, server: ServerRow, database: str) -> None:
        """Begin to connect as the tenant to a database that is ready, in the background.

        Nothing is sent there before `tenant` is asked for, which is once the place is committed.
        """

        async def connect() -> TenantConnection:
            driver = await self.shop.databases.driver(server)
            spec = spec_of_tenant(self.schema, driver.dialect, database)
            return await self._connect(managed_target(self.job.tenant, driver, spec))

        self._ahead = asyncio.create_task(connect())

    async def building(self) -> Building:
        """The tables that the job makes there."""
        if self._building is None:
            target = await self.target()
            roles = target.is_managed or await has_client_roles(target, await self.owner())
            extracted = self.schema.extracted(target.dialect, client_roles=roles)
            self.fingerprint = self.schema.tables_fingerprint(target.dialect, client_roles=roles)
            self._building = Building(self.job, target.database, extracted)
        return self._building

    async def close(self) -> None:
        """Give up the connections."""
        self._owner = self._tenant = None
        if self._ahead is not None:
            self._ahead.cancel()
            await asyncio.wait([self._ahead])
            if not self._ahead.cancelled():
                self._ahead.exception()  # It failed before anybody asked for it.
            self._ahead = None
        await self._stack.aclose()

    async def _connect(self, target: Target) -> TenantConnection:
        return await self._stack.enter_async_context(target.as_tenant())

    async def _find_target(self) -> Target:
        job, databases = self.job, self.shop.databases
        assert job.database is not None, "a job has a place before it has a target"
        if job.mode is JobMode.CONNECT:
            place = databases.reach(await self.config())
            return outside_target(job.tenant, job.database, place)
        assert job.server is not None, "a database that is made has a server"
        driver = await databases.driver(await databases.server(job.server))
        spec = spec_of_tenant(self.schema, driver.dialect, job.database)
        return managed_target(job.tenant, driver, spec)
