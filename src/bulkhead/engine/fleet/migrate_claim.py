"""Whose turn it is to migrate a tenant: claims, what holds one back, and what came of it."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from bulkhead.engine.clock import monotonic_s
from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.connections.database import OpenDatabase
from bulkhead.engine.connections.queries import load_queries
from bulkhead.engine.connections.transaction import Transaction
from bulkhead.engine.drivers.errors import is_connection_loss
from bulkhead.engine.errors import BulkheadError
from bulkhead.engine.fleet.migrate_tenant import Aim, FleetMigrations, Migrated
from bulkhead.engine.fleet.model import TenantId
from bulkhead.engine.fleet.registry import TenantChanged, get_tenant
from bulkhead.engine.fleet.renewal import renewing
from bulkhead.engine.ids import new_id
from bulkhead.engine.ongoing import SETTLED_S

QUERIES: Final = load_queries(__package__, "migrate.sql")
LEASE_S: Final = 600.0
RETRYABLE: Final = 503
SOON: Final = "set local synchronous_commit to off"
TRIES_MAX: Final = 5
"""How often the run of another process may end, or begin, while one is begun."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A tenant that this process migrates."""

    tenant: TenantId
    since: dt.datetime
    """When it was taken up, which tells whose it is."""
    lease_s: float
    at_s: float = field(default_factory=monotonic_s)
    """The same by this process's clock."""


@dataclass(frozen=True, slots=True)
class Held:
    """A tenant that is not migrated because it is being moved."""

    tenant: TenantId
    target: str
    """The server that it moves to."""
    step: str
    """How far its move has come."""
    deadline_at: dt.datetime
    """After that its move holds it no longer."""


async def list_held(tx: Transaction, fleet: str) -> Mapping[TenantId, Held]:
    """Tenants of a fleet that are not migrated because they are being moved."""
    rows = await tx.fetch(QUERIES.list_held, fleet)
    return {row["tenant"]: Held(*row.values()) for row in rows}


async def begin_run(tx: Transaction, fleet: str, aim: Aim) -> UUID:
    """The open run with this aim, begun if there is none; one with another aim gives way."""
    goal = (fleet, aim.direction.value, aim.version)
    for _ in range(TRIES_MAX):
        await tx.execute(QUERIES.end_other_runs, *goal)
        found = await tx.fetchval(QUERIES.begin_run, new_id(), *goal)
        # Of another process; it may have ended its run meanwhile, or begun one with another aim.
        found = found or await tx.fetchval(QUERIES.find_run, *goal)
        if found is not None:
            return UUID(str(found))
    message = "no run can be begun while others begin theirs without end"
    raise AssertionError(message)


async def claim_one(
    tx: Transaction, tenant: TenantId, migrations: FleetMigrations, owner: str
) -> Claim | None:
    """Take one tenant up that somebody asks for; None while it is being moved.

    Its database, not this claim, keeps two from migrating it at once.
    """
    await tx.execute(QUERIES.lock_tenant, tenant)
    if tenant in await list_held(tx, migrations.fleet):
        return None
    since = await tx.fetchval(QUERIES.claim_one, tenant, migrations.latest, owner, LEASE_S)
    return Claim(tenant, since, LEASE_S) if since is not None else None


async def is_kept(registry: OpenDatabase, claim: Claim) -> bool:
    """Whether a tenant that was taken up a while ago is still this process's; keeps it if so."""
    if monotonic_s() - claim.at_s < claim.lease_s / 4:
        return True
    async with registry.transaction(SERVICE) as tx:
        tx.at_commit(SOON)
        held = await tx.fetchval(QUERIES.hold_claim, claim.tenant, claim.since, claim.lease_s)
    return held is not None


@asynccontextmanager
async def keeping(registry: OpenDatabase, claim: Claim) -> AsyncIterator[None]:
    """Keep a tenant however long the block takes, so that nobody moves it meanwhile."""

    async def renew() -> bool:
        await is_kept(registry, claim)
        return True  # Whoever has it otherwise is kept apart by the tenant's database.

    async with renewing(renew, claim.lease_s, "a migration"):
        yield


async def leave(registry: OpenDatabase, claims: Iterable[Claim]) -> None:
    """Leave tenants to others, who else would wait for the leases to end."""
    with suppress(BulkheadError):
        async with registry.transaction(SERVICE) as tx:
            for claim in claims:
                await tx.fetchval(QUERIES.hold_claim, claim.tenant, claim.since, SETTLED_S)


def is_passing(error: BulkheadError) -> bool:
    """Whether the same may go well a little later."""
    return error.status == RETRYABLE or is_connection_loss(error)


def ms_since(began_s: float) -> int:
    """How many milliseconds have gone by, for what is noted of a migration."""
    return round((monotonic_s() - began_s) * 1000)


async def note_failed(
    tx: Transaction,
    claim: Claim,
    error: BulkheadError,
    duration_ms: int,
    retry_s: float | None = None,
) -> None:
    """Let people see why a tenant could not be migrated; it is tried again after `retry_s`."""
    told = json.dumps(error.to_json())
    await tx.execute(QUERIES.note_failed, claim.tenant, claim.since, told, retry_s, duration_ms)


async def note_migrated(
    tx: Transaction, tenant: TenantId, server: str | None, migrated: Migrated, duration_ms: int
) -> None:
    """Let the registry know which schema the tenant has now, which was migrated at `server`.

    It need not be on the disk at once: whoever finds it forgotten finds nothing to do there. Raises
    TenantUnknown, and TenantChanged when it has gone elsewhere meanwhile.
    """
    tx.at_commit(SOON)
    row = await tx.fetchrow(
        QUERIES.note_done, tenant, duration_ms, migrated.version, migrated.fingerprint, server
    )
    if row is None:
        await get_tenant(tx, tenant)
        raise TenantChanged(tenant=tenant, expected=f"on server '{server}'")
