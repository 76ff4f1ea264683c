"""Connections of other people's databases, sealed for the one row of the registry they stand in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from uuid import UUID

from bulkhead.engine.errors import ConfigurationInvalid
from bulkhead.engine.fleet.model import ConnectionConfig, TenantId
from bulkhead.engine.sealing import SealContext, SealedColumn, Sealer

TENANTS: Final = "bulkhead.fleet_tenants"
SERVERS: Final = "bulkhead.fleet_servers"
JOBS: Final = "bulkhead.provisioning_jobs"
_OF_SERVERS: Final = "server:"
SEALED_COLUMNS: Final = (
    SealedColumn(TENANTS, "sealed_connection"),
    SealedColumn(
        SERVERS,
        "sealed_endpoint",
        key="name",
        key_type="text",
        tenant="name",
        tenant_prefix=_OF_SERVERS,
    ),
    SealedColumn(JOBS, "sealed_config", tenant="tenant"),
)
"""Where the registry has sealed values, for whoever rotates keys."""


@dataclass(frozen=True, slots=True)
class Seals:
    """Seals and opens what stands in the registry `database`, for example `shop.master`."""

    database: str
    sealer: Sealer | None = None
    """None where no tenant and no server has a sealed connection."""

    async def seal_connection(self, tenant: TenantId, config: ConnectionConfig) -> bytes:
        """Seal how the tenant's database is reached."""
        return await self._seal_anew(config, self._of_tenant(tenant))

    async def open_connection(self, tenant: TenantId, sealed: bytes) -> ConnectionConfig:
        """How the tenant's database is reached; raises SealBroken."""
        opened = await self._sealer.open(sealed, self._of_tenant(tenant))
        return ConnectionConfig.from_bytes(opened)

    async def seal_endpoint(self, server: str, config: ConnectionConfig) -> bytes:
        """Seal how a server's administrator reaches it."""
        return await self._sealer.seal(config.to_bytes(), self._of_server(server))

    async def open_endpoint(self, server: str, sealed: bytes) -> ConnectionConfig:
        """How a server's administrator reaches it; raises SealBroken."""
        opened = await self._sealer.open(sealed, self._of_server(server))
        return ConnectionConfig.from_bytes(opened)

    async def seal_job(self, tenant: TenantId, job: UUID, config: ConnectionConfig) -> bytes:
        """Seal how the database is reached that a job connects to."""
        return await self._seal_anew(config, self._of_job(tenant, job))

    async def open_job(self, tenant: TenantId, job: UUID, sealed: bytes) -> ConnectionConfig:
        """How the database is reached that a job connects to; raises SealBroken."""
        opened = await self._sealer.open(sealed, self._of_job(tenant, job))
        return ConnectionConfig.from_bytes(opened)

    async def _seal_anew(self, config: ConnectionConfig, context: SealContext) -> bytes:
        """Not with a key that was destroyed with an earlier job of the tenant, elsewhere."""
        self._sealer.forget(context.tenant)
        return await self._sealer.seal(config.to_bytes(), context)

    @property
    def _sealer(self) -> Sealer:
        if self.sealer is None:
            raise ConfigurationInvalid(
                reason="the registry has a sealed connection, but this process has no keys"
            )
        return self.sealer

    def _of_tenant(self, tenant: TenantId) -> SealContext:
        return SealContext(
            self.database, TENANTS, "sealed_connection", key=str(tenant), tenant=str(tenant)
        )

    def _of_server(self, server: str) -> SealContext:
        return SealContext(
            self.database, SERVERS, "sealed_endpoint", key=server, tenant=_OF_SERVERS + server
        )

    def _of_job(self, tenant: TenantId, job: UUID) -> SealContext:
        return SealContext(self.database, JOBS, "sealed_config", key=str(job), tenant=str(tenant))
