"""The end of deleted tenants: their rows go into an archive, and only then the database is dropped.

Of those whose time is over each is one process's, by a lease that is renewed while it works. From
the moment that the export is noted nobody can restore the tenant; before it nothing is destroyed,
so that a process which slept through its lease harms neither a tenant that was restored meanwhile
nor whoever has taken the deletion over.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from bulkhead.engine import failpoints
from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.connections.queries import load_queries
from bulkhead.engine.drivers.errors import DatabaseMissing
from bulkhead.engine.errors import BulkheadError
from bulkhead.engine.fleet.export import export_tenant
from bulkhead.engine.fleet.fleet import Fleet
from bulkhead.engine.fleet.model import TenantId, TenantRow
from bulkhead.engine.fleet.move import Mover
from bulkhead.engine.fleet.owner import Managed, find_managed
from bulkhead.engine.fleet.parallel import in_parallel
from bulkhead.engine.fleet.registry import (
    TenantChanged,
    find_tenant,
    remove_reserved,
    remove_tenant,
)
from bulkhead.engine.fleet.renewal import LeaseLost, renewing
from bulkhead.engine.ongoing import SETTLED_S, claimed

if TYPE_CHECKING:
    from bulkhead.engine.connections.database import OpenDatabase
    from bulkhead.engine.connections.transaction import Transaction

QUERIES: Final = load_queries(__package__, "care.sql")
PURGE_LEASE_S: Final = 900.0
PURGE_RETRY_S: Final = 300.0
PURGES_AT_ONCE: Final = 4
"""Each drop waits for a checkpoint of its server, which those that come at once share."""

HELD: Final = failpoints.register("fleet.lifecycle:held")
EXPORTED: Final = failpoints.register("fleet.lifecycle:exported")
NOTED: Final = failpoints.register("fleet.lifecycle:noted")
DROPPED: Final = failpoints.register("fleet.lifecycle:dropped")

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Deletion:
    """A tenant that is being deleted, or was."""

    tenant: TenantId
    fleet: str
    state: str
    """`waiting` until its time is over, then `exported`, then `dropped`."""
    reason: str
    purge_at: dt.datetime
    archive: str | None
    error: Mapping[str, Any] | None
    requested_at: dt.datetime
    attempts: int
    """How often it was taken up; with `requested_at`, whose it is."""


def deletion_of(row: Any) -> Deletion:  # noqa: ANN401 - asyncpg.Record
    """Read a row of `fleet_deletions`."""
    return Deletion(
        tenant=TenantId(row["tenant"]),
        fleet=row["fleet"],
        state=row["state"],
        reason=row["reason"],
        purge_at=row["purge_at"],
        archive=row["archive"],
        error=json.loads(row["error"]) if row["error"] is not None else None,
        requested_at=row["requested_at"],
        attempts=row["attempts"],
    )


@dataclass(frozen=True, slots=True)
class Purger:
    """Exports and drops deleted tenants of `fleet`."""

    fleet: Fleet
    archives: Path
    forget: Callable[[TenantId], Awaitable[None]] | None = None
    """Destroys the keys of a tenant that is gone."""
    lease_s: float = PURGE_LEASE_S

    async def purge_due(self, limit: int) -> int:
        """Purge those whose time is over, and return how many; what fails is tried again later."""
        deletions = await claimed(self._claim(limit), self._leave)
        left = {each.tenant: each for each in deletions}

        async def purge_one(deletion: Deletion) -> bool:
            is_done = await self._purge_one(deletion)
            del left[deletion.tenant]
            return is_done

        try:
            return sum(await in_parallel(purge_one, deletions, PURGES_AT_ONCE))
        except asyncio.CancelledError:
            await self._leave(left.values())
            raise

    @property
    def _registry(self) -> OpenDatabase:
        return self.fleet.databases.registry

    async def _claim(self, limit: int) -> list[Deletion]:
        async with self._registry.transaction(SERVICE) as tx:
            rows = await tx.fetch(QUERIES.claim_deletions, self.fleet.name, self.lease_s, limit)
        return [deletion_of(row) for row in rows]

    async def _leave(self, deletions: Iterable[Deletion]) -> None:
        """Leave deletions to others, who else would wait for their leases to end."""
        with suppress(BulkheadError):
            async with self._registry.transaction(SERVICE) as tx:
                for deletion in deletions:
                    await tx.fetchval(QUERIES.hold_deletion, *_whose(deletion), SETTLED_S)

    async def _purge_one(self, deletion: Deletion) -> bool:
        """Whether it is done; what keeps it from being done is noted."""
        try:
            await self._hold(deletion)  # It has waited for its turn.
            await self._purge_holding(deletion)
        except BulkheadError as error:
            log.warning("tenant %s could not be purged: %s", deletion.tenant, error)
            async with self._registry.transaction(SERVICE) as tx:
                told = json.dumps(error.to_json())
                await tx.execute(QUERIES.note_purge_failure, *_whose(deletion), told, PURGE_RETRY_S)
            return False
        return True

    async def _purge_holding(self, deletion: Deletion) -> None:
        """Purge, and end at once when somebody else has taken the deletion over, or back."""

        async def hold() -> bool:
            try:
                await self._hold(deletion)
            except TenantChanged:
                return False
            return True

        try:
            async with renewing(hold, self.lease_s, "a purge"):
                await self._purge(deletion)
        except LeaseLost as lost:
            raise _taken_over(deletion) from lost

    async def _hold(self, deletion: Deletion) -> None:
        async with self._registry.transaction(SERVICE) as tx:
            await _verify_held(tx, QUERIES.hold_deletion, deletion, self.lease_s)

    async def _purge(self, deletion: Deletion) -> None:
        async with self._registry.transaction(SERVICE, read_only=True) as tx:
            row = await find_tenant(tx, deletion.tenant)
        if row is not None:
            managed = await find_managed(self.fleet.databases, row.place)
            if deletion.state == "waiting":
                await self._archive(deletion, row if managed is not None else None)
            if managed is not None:
                await self._hold(deletion)
                # Else its other database would stay.
                await Mover(self.fleet).end_deleted(row.id)
                await self._hold(deletion)
                await self._drop(row, managed)
            await failpoints.reach(DROPPED)
        if self.forget is not None:
            await self._hold(deletion)
            await self.forget(deletion.tenant)
        async with self._registry.transaction(SERVICE) as tx:
            await remove_tenant(tx, deletion.tenant)
            await remove_reserved(tx, deletion.tenant)
            await _verify_held(tx, QUERIES.note_dropped, deletion)

    async def _drop(self, row: TenantRow, managed: Managed) -> None:
        assert row.place.server is not None, "a managed database has a server"
        databases = self.fleet.databases
        await databases.drop(await databases.server(row.place.server), managed.spec)

    async def _archive(self, deletion: Deletion, row: TenantRow | None) -> None:
        """Export a managed database, and note it: from here on the tenant is not restored."""
        archive, manifest = None, None
        await failpoints.reach(HELD)
        if row is not None:
            self.archives.mkdir(mode=0o700, parents=True, exist_ok=True)
            path, *earlier = self._paths(deletion)
            for left in earlier:  # Of attempts that nobody noted, nor can any more.
                left.unlink(missing_ok=True)
            try:
                manifest = json.dumps(
                    (await export_tenant(self.fleet.databases, row, path)).to_json()
                )
                archive = str(path)
            except DatabaseMissing:
                log.warning("tenant %s has no database to export", row.id)
        await failpoints.reach(EXPORTED)
        try:
            async with self._registry.transaction(SERVICE) as tx:
                await _verify_held(tx, QUERIES.note_export, deletion, archive, manifest)
        except TenantChanged:
            self._paths(deletion)[0].unlink(missing_ok=True)
            raise
        await failpoints.reach(NOTED)

    def _paths(self, deletion: Deletion) -> list[Path]:
        """Where this attempt exports the tenant to, and where the earlier ones did, the last first.

        Nobody who slept writes to, or clears away, what a later attempt has noted; nor what was
        exported before the tenant was made again.
        """
        name = f"{deletion.fleet}-{deletion.tenant}-{deletion.requested_at:%Y%m%dT%H%M%S%f}"
        attempts = range(deletion.attempts, 0, -1)
        return [self.archives / f"{name}-{attempt}.zip" for attempt in attempts]


async def _verify_held(tx: Transaction, query: str, deletion: Deletion, *args: object) -> None:
    """Raises TenantChanged where `query` finds the deletion to be another's, or taken back."""
    if await tx.fetchval(query, *_whose(deletion), *args) is None:
        raise _taken_over(deletion)


def _taken_over(deletion: Deletion) -> TenantChanged:
    return TenantChanged(tenant=deletion.tenant, expected="this process's to purge")


def _whose(deletion: Deletion) -> tuple[TenantId, int, dt.datetime]:
    return deletion.tenant, deletion.attempts, deletion.requested_at
