"""Tenants whose schema is older than the code bears: migrated when they are first asked for.

Code that serves a fleet on its way bears several versions, from `minimum` to the newest. A tenant
below that is migrated once, however many ask for it; who asks waits for a moment at most, while the
migration goes on. Or it is refused, where somebody else migrates the fleet.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field

from bulkhead.engine.clock import monotonic_s
from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.errors import BulkheadError, Unavailable
from bulkhead.engine.fleet.databases import Databases
from bulkhead.engine.fleet.migrate_claim import (
    Claim,
    claim_one,
    keeping,
    leave,
    ms_since,
    note_failed,
    note_migrated,
)
from bulkhead.engine.fleet.migrate_tenant import Aim, FleetMigrations, migrate_tenant
from bulkhead.engine.fleet.model import TenantId, TenantRow
from bulkhead.engine.fleet.parallel import stop_all
from bulkhead.engine.fleet.registry import get_tenant
from bulkhead.engine.migrations.plan import Direction
from bulkhead.engine.ongoing import claimed

WAIT_S = 5.0
FORGIVE_S = 30.0
AT_ONCE_MAX = 4
OWNER = "on request"
MOVING = "it is being moved, and migrated as soon as the move has made way"

log = logging.getLogger(__name__)


class TenantBehind(Unavailable):
    """Tenant {tenant} is at version {version}, but {minimum} is needed: {reason}."""

    code = "tenant_behind"
    retry_after_s = 5
    hint = "Migrate the fleet: bulkhead migrate apply -a {application} --tenants."


@dataclass(slots=True, eq=False)
class SchemaGate:
    """Lets tenants in whose schema the code can work with; for `Fleet.gate`."""

    databases: Databases
    migrations: FleetMigrations
    minimum: int
    """The oldest version that the code bears."""
    on_request: bool = True
    """Whether a tenant that is behind is migrated here, or refused."""
    wait_s: float = WAIT_S
    _running: dict[TenantId, asyncio.Task[None]] = field(default_factory=dict)
    _failed: dict[TenantId, tuple[float, BulkheadError]] = field(default_factory=dict)
    _slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_ONCE_MAX))

    def bears(self, tenant: TenantRow) -> bool:
        """Whether the code can work with the schema that the tenant has."""
        return tenant.schema_version >= self.minimum

    async def admit(self, tenant: TenantRow) -> None:
        """Return once the tenant is not behind any more; raises TenantBehind."""
        if self.bears(tenant):
            return
        if not self.on_request:
            raise self._behind(tenant, "it has not been migrated yet")
        failed = self._failed.get(tenant.id)
        if failed is not None and monotonic_s() - failed[0] < FORGIVE_S:
            raise self._behind(tenant, failed[1].message) from failed[1]
        task = self._running.get(tenant.id)
        if task is None:
            task = self._running[tenant.id] = asyncio.create_task(self._migrate(tenant.id))
            task.add_done_callback(lambda _: self._running.pop(tenant.id, None))
        try:
            async with asyncio.timeout(self.wait_s):
                await asyncio.shield(task)
        except TimeoutError:
            raise self._behind(tenant, "it is being migrated at the moment") from None
        except TenantBehind:
            raise
        except BulkheadError as error:
            raise self._behind(tenant, error.message) from error

    async def close(self, *, drain_s: float) -> None:
        """Let migrations under way come to their end; those that take longer are left to others."""
        if self._running:
            await asyncio.wait(list(self._running.values()), timeout=drain_s)
        await stop_all(list(self._running.values()))

    async def _migrate(self, tenant: TenantId) -> None:
        """In turn with others, and with other processes by the lock in the database."""
        async with self._slots:
            taken = await claimed(self._claim(tenant), self._leave)
            if taken is None:
                return
            try:
                await self._migrate_taken(*taken)
            except asyncio.CancelledError:
                await self._leave(taken)
                raise

    async def _claim(self, tenant: TenantId) -> tuple[TenantRow, Claim] | None:
        """None when the tenant is not behind any more; raises TenantBehind while it moves."""
        async with self.databases.registry.transaction(SERVICE) as tx:
            row = await get_tenant(tx, tenant)
            if self.bears(row):
                return None
            claim = await claim_one(tx, tenant, self.migrations, OWNER)
        if claim is None:
            raise self._behind(row, MOVING)
        return row, claim

    async def _leave(self, taken: tuple[TenantRow, Claim] | None) -> None:
        if taken is not None:
            await leave(self.databases.registry, [taken[1]])

    async def _migrate_taken(self, row: TenantRow, claim: Claim) -> None:
        registry, began_s = self.databases.registry, monotonic_s()
        try:
            aim = Aim(Direction.UP, self.migrations.latest)
            async with keeping(registry, claim):
                migrated = await migrate_tenant(self.databases, row, self.migrations, aim)
        except BulkheadError as error:
            log.warning("tenant %s could not be migrated: %s", row.id, error)
            self._failed[row.id] = (monotonic_s(), error)
            async with registry.transaction(SERVICE) as tx:
                await note_failed(tx, claim, error, ms_since(began_s))
            raise
        self._failed.pop(row.id, None)
        async with registry.transaction(SERVICE) as tx:
            await note_migrated(tx, row.id, row.place.server, migrated, ms_since(began_s))

    def _behind(self, tenant: TenantRow, reason: str) -> TenantBehind:
        return TenantBehind(
            application=self.databases.registry.application,
            tenant=tenant.id,
            version=tenant.schema_version,
            minimum=self.minimum,
            reason=reason,
        )
