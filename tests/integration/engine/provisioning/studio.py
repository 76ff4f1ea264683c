"""A fleet whose databases are projects of a Supabase organization that is on this machine."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from supabase_api import SupabaseApi
from supabase_cloud import Organization, Project
from tests.integration.engine.drivers.supabase_subject import PATIENCE, REGION, access_to
from tests.integration.engine.provisioning.tables import SHELVES
from tests.integration.engine.provisioning.workshop import Sealer

from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.connections.database import OpenDatabase
from bulkhead.engine.drivers.secret import Secret, SecretText
from bulkhead.engine.fleet.databases import Databases
from bulkhead.engine.fleet.fleet import Fleet
from bulkhead.engine.fleet.lifecycle import Lifecycle
from bulkhead.engine.fleet.model import ConnectionConfig, ServerKind, TenantId
from bulkhead.engine.fleet.registry import ServerEntry, add_server, find_tenant, list_servers
from bulkhead.engine.fleet.seals import Seals
from bulkhead.engine.fleet.supabase import account_config, manage_supabase, own_server
from bulkhead.engine.ids import new_id
from bulkhead.engine.provisioning.job import JobState, ProvisioningJob, ProvisioningRequest
from bulkhead.engine.provisioning.schema import FleetSchema
from bulkhead.engine.provisioning.service import Provisioning, build_provisioning

SERVER = "cloud"
POLL_S = 60.0
"""However slow the machine is, whoever does not `hurry` finds a project that is coming up."""
_numbers = count(1)


@dataclass(slots=True, eq=False)
class Studio:
    """A fleet whose databases are projects of one organization."""

    api: SupabaseApi
    organization: Organization
    registry: OpenDatabase
    schema: FleetSchema
    secret: Secret = field(default_factory=lambda: Secret(secrets.token_bytes(32)))
    databases: Databases = field(init=False)
    provisioning: Provisioning = field(init=False)

    def __post_init__(self) -> None:
        self.again()

    @property
    def projects(self) -> list[Project]:
        return [
            each
            for each in self.api.cloud.projects.values()
            if each.organization is self.organization
        ]

    def again(self) -> None:
        """The next process, which remembers nothing."""
        registry = self.registry
        patience = replace(PATIENCE, wait_s_max=0.0)
        access = replace(access_to(self.api), poll_s=POLL_S, patience=patience)
        self.databases = Databases(
            registry,
            Seals(f"{registry.application}.{registry.name}", Sealer()),
            self.secret,
            manage={ServerKind.SUPABASE: manage_supabase(access)},
        )
        owner = f"studio {next(_numbers)}"
        self.provisioning = build_provisioning(self.databases, [self.schema], owner)

    def token(self, organization: Organization) -> SecretText:
        return SecretText(next(iter(organization.tokens)))

    async def add(self, name: str = SERVER, capacity: int = 100) -> None:
        """Make the organization known as a server."""
        access, organization = access_to(self.api), self.organization
        config = account_config(access, self.token(organization), organization.slug, REGION)
        sealed = await self.databases.seals.seal_endpoint(name, config)
        entry = ServerEntry(
            name, ServerKind.SUPABASE, organization.slug, capacity, sealed_endpoint=sealed
        )
        async with self.registry.transaction(SERVICE) as tx:
            await add_server(tx, entry)

    def request(self, tenant: TenantId | None = None, **others: Any) -> ProvisioningRequest:
        tenant = tenant or TenantId(new_id())
        return ProvisioningRequest(
            tenant, self.schema.fleet, "Bookshop", ServerKind.SUPABASE, **others
        )

    async def finish(self, job: ProvisioningJob) -> ProvisioningJob:
        """Work on what is due, letting pauses pass, until the job has ended."""
        for _ in range(80):
            await self.provisioning.run_once()
            found = await self.provisioning.get(job.id)
            if found.has_ended:
                return found
            await self.hurry()
        raise AssertionError(found)

    async def go_on(self) -> None:
        """Work for a while: a project that is coming up is come back to."""
        for _ in range(4):
            try:
                await self.provisioning.run_once()
            finally:
                await self.hurry()

    async def hurry(self) -> None:
        async with self.registry.transaction(SERVICE) as tx:
            await tx.execute(
                "update bulkhead.provisioning_jobs set leased_until = null, due_at = 'epoch'"
                " where finished_at is null"
            )

    async def verify_served(self, job: ProvisioningJob) -> None:
        """The tenant is active, in one project of its own, and is reached without the API."""
        assert job.state is JobState.ACTIVE, job
        assert len(self.projects) == 1
        self.again()
        self.api.requests.clear()
        async with self.fleet() as fleet:
            async with fleet.connection(job.tenant) as connection:
                rows = await connection.fetch(sa.select(SHELVES.c.id, SHELVES.c.name))
            assert [(row["id"], row["name"]) for row in rows] == [(job.tenant, "Bookshop")]
        assert self.api.requests == []

    async def verify_clean(self, job: ProvisioningJob, state: JobState) -> None:
        """There is no project, no tenant and no secret."""
        assert job.state is state, job
        assert job.error is not None
        assert "left_behind" not in job.error
        assert self.projects == []
        async with self.registry.transaction(SERVICE) as tx:
            assert await find_tenant(tx, job.tenant) is None

    @asynccontextmanager
    async def fleet(self) -> AsyncIterator[Fleet]:
        fleet = Fleet(self.schema.fleet, self.databases)
        try:
            yield fleet
        finally:
            await fleet.close()

    async def add_account(self, tenant: TenantId, organization: Organization) -> ConnectionConfig:
        """Reserve an account of its owner for a tenant."""
        token = self.token(organization)
        config = account_config(access_to(self.api), token, organization.slug, "us-east-1")
        name = own_server(tenant, config, b"").name
        sealed = await self.databases.seals.seal_endpoint(name, config)
        async with self.registry.transaction(SERVICE) as tx:
            await add_server(tx, own_server(tenant, config, sealed))
        return config

    async def purge(self, tenant: TenantId) -> None:
        """Delete a tenant at once, whose archive is there already."""
        async with self.fleet() as fleet:
            lifecycle = Lifecycle(fleet, Path("/nonexistent"))
            await lifecycle.delete(tenant, grace_s=0)
            async with self.registry.transaction(SERVICE) as tx:
                await tx.execute("update bulkhead.fleet_deletions set state = 'exported'")
            assert await lifecycle.purge_due() == 1

    async def servers(self) -> list[str]:
        async with self.registry.transaction(SERVICE) as tx:
            return [server.name for server in await list_servers(tx)]
