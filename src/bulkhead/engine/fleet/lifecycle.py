"""What happens to a tenant after it was provisioned: suspend, resume, delete, restore, purge.

Each use case changes the registry first, which closes or opens the tenant for every process, and
then the server; each may be repeated after it was interrupted anywhere. A deleted tenant is closed
at once and can be restored; when its time of grace is over its rows go into an archive, and only
then the database is dropped.
"""

from __future__ import annotations

import datetime as dt
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bulkhead.engine import failpoints
from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.connections.queries import load_queries
from bulkhead.engine.drivers.errors import DatabaseMissing
from bulkhead.engine.errors import BulkheadError, Conflict
from bulkhead.engine.fleet.archive import Manifest
from bulkhead.engine.fleet.copying import replace_rows
from bulkhead.engine.fleet.export import export_tenant
from bulkhead.engine.fleet.fence import DRAIN_S, fence, open_again
from bulkhead.engine.fleet.fleet import Fleet
from bulkhead.engine.fleet.model import TenantId, TenantRow, TenantState
from bulkhead.engine.fleet.owner import find_managed
from bulkhead.engine.fleet.registry import find_tenant, get_tenant, remove_tenant, set_state

QUERIES: Final = load_queries(__package__, "care.sql")
GRACE_S: Final = 30 * 86400.0
PURGE_LEASE_S: Final = 900.0
PURGE_RETRY_S: Final = 300.0
PURGES_MAX: Final = 10

CLOSED_IN_REGISTRY: Final = failpoints.register("fleet.lifecycle:closed_in_registry")
FENCED: Final = failpoints.register("fleet.lifecycle:fenced")
EXPORTED: Final = failpoints.register("fleet.lifecycle:exported")
NOTED: Final = failpoints.register("fleet.lifecycle:noted")
DROPPED: Final = failpoints.register("fleet.lifecycle:dropped")

log = logging.getLogger(__name__)


class TenantGone(Conflict):
    """Tenant {tenant} cannot be restored: {reason}."""

    code = "tenant_gone"
    hint = "Its archive can be loaded into a new tenant."


class CloneRefused(Conflict):
    """Tenant {target} cannot become a clone of {source}: {reason}."""

    code = "tenant_clone_refused"


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


@dataclass(slots=True, eq=False)
class Lifecycle:
    """The lifecycle of the tenants of `fleet`; archives of deleted ones go into a folder."""

    fleet: Fleet
    archives: Path
    grace_s: float = GRACE_S
    forget: Callable[[TenantId], Awaitable[None]] | None = None
    """Destroys the keys of a tenant that is gone."""

    async def suspend(
        self, tenant: TenantId, reason: str, *, drain_s: float = DRAIN_S
    ) -> TenantRow:
        """Serve the tenant no more; what runs gets `drain_s` to end. Nothing is lost.

        Raises TenantUnknown, and TenantChanged for one that is neither active nor suspended.
        """
        expected = [TenantState.ACTIVE, TenantState.SUSPENDED]
        return await self._close(tenant, TenantState.SUSPENDED, expected, reason, drain_s)

    async def resume(self, tenant: TenantId) -> TenantRow:
        """Serve a suspended tenant again; raises TenantUnknown, TenantChanged."""
        expected = [TenantState.SUSPENDED, TenantState.ACTIVE]
        return await self._open(tenant, expected)

    async def delete(
        self, tenant: TenantId, *, reason: str = "", grace_s: float | None = None
    ) -> Deletion:
        """Close the tenant at once, and drop its database when `grace_s` is over.

        Raises TenantUnknown, and TenantChanged for one that is being provisioned or moved.
        """
        grace_s = self.grace_s if grace_s is None else grace_s
        async with self._registry.transaction(SERVICE) as tx:
            expected = [TenantState.ACTIVE, TenantState.SUSPENDED, TenantState.DELETING]
            row = await set_state(
                tx, tenant, TenantState.DELETING, expected=expected, reason=reason or None
            )
            await tx.execute(QUERIES.add_deletion, tenant, row.fleet, reason, grace_s)
            deletion = _deletion(await tx.fetchrow(QUERIES.find_deletion, tenant))
        await failpoints.reach(CLOSED_IN_REGISTRY)
        await self._shut(row, DRAIN_S)
        return deletion

    async def restore(self, tenant: TenantId) -> TenantRow:
        """Take a deletion back; raises TenantGone when its time of grace is over."""
        async with self._registry.transaction(SERVICE, read_only=True) as tx:
            row = await find_tenant(tx, tenant)
        if row is None:
            raise TenantGone(tenant=tenant, reason="its time of grace is over")
        await self._let_in(row)
        if row.state is TenantState.ACTIVE:
            return row
        async with self._registry.transaction(SERVICE) as tx:
            if await tx.fetchrow(QUERIES.forget_deletion, tenant) is None:
                raise TenantGone(tenant=tenant, reason="its time of grace is over")
            row = await set_state(tx, tenant, TenantState.ACTIVE, expected=[TenantState.DELETING])
        self.fleet.invalidate(tenant)
        return row

    async def list_deletions(self) -> tuple[Deletion, ...]:
        """Those that are not at their end, the next one first."""
        async with self._registry.transaction(SERVICE, read_only=True) as tx:
            rows = await tx.fetch(QUERIES.list_deletions, self.fleet.name)
        return tuple(_deletion(row) for row in rows)

    async def purge_due(self, limit: int = PURGES_MAX) -> int:
        """Export and drop those whose time is over, and return how many; for a job.

        What fails is noted and tried again later, also what was left half done by a process that
        died.
        """
        async with self._registry.transaction(SERVICE) as tx:
            rows = await tx.fetch(QUERIES.claim_deletions, self.fleet.name, PURGE_LEASE_S, limit)
        purged = 0
        for row in rows:
            deletion = _deletion(row)
            try:
                await self._purge(deletion)
            except BulkheadError as error:
                log.warning("tenant %s could not be purged: %s", deletion.tenant, error)
                async with self._registry.transaction(SERVICE) as tx:
                    told = json.dumps(error.to_json())
                    await tx.execute(
                        QUERIES.note_purge_failure, deletion.tenant, told, PURGE_RETRY_S
                    )
            else:
                purged += 1
        return purged

    async def export(self, tenant: TenantId, path: Path) -> Manifest:
        """Write the tenant's rows into an archive at `path`, as of one moment.

        Whoever writes meanwhile is not held up. Raises TenantUnknown, FileExistsError.
        """
        async with self._registry.transaction(SERVICE, read_only=True) as tx:
            row = await get_tenant(tx, tenant)
        return await export_tenant(self.fleet.databases, row, path)

    async def clone(self, source: TenantId, target: TenantId) -> int:
        """Give `target`, provisioned already, the rows of `source`; return how many.

        All rows that `target` had are replaced, in one transaction. Raises CloneRefused unless both
        have the same schema on the same kind of server, and `target` is suspended.
        """
        async with self._registry.transaction(SERVICE, read_only=True) as tx:
            origin, copy = await get_tenant(tx, source), await get_tenant(tx, target)
        reason = _clone_refusal(origin, copy)
        if reason is not None:
            raise CloneRefused(source=source, target=target, reason=reason)
        return await replace_rows(self.fleet.databases, origin, copy)

    @property
    def _registry(self) -> Any:  # noqa: ANN401
        return self.fleet.databases.registry

    async def _close(
        self,
        tenant: TenantId,
        state: TenantState,
        expected: list[TenantState],
        reason: str,
        drain_s: float,
    ) -> TenantRow:
        async with self._registry.transaction(SERVICE) as tx:
            row = await set_state(tx, tenant, state, expected=expected, reason=reason)
        await failpoints.reach(CLOSED_IN_REGISTRY)
        await self._shut(row, drain_s)
        return row

    async def _shut(self, row: TenantRow, drain_s: float) -> None:
        """Have no connection to the database, neither in this process nor in another."""
        await self.fleet.drain(row.id, drain_s)
        managed = await find_managed(self.fleet.databases, row.place)
        if managed is not None:
            await fence(managed, drain_s=drain_s)
            await self._open_if_served(row)
        await failpoints.reach(FENCED)

    async def _open_if_served(self, row: TenantRow) -> None:
        """Somebody may have opened the tenant again while it was being closed."""
        async with self._registry.transaction(SERVICE, read_only=True) as tx:
            now = await find_tenant(tx, row.id)
        if now is not None and now.state is TenantState.ACTIVE and now.place == row.place:
            await self._let_in(now)

    async def _open(self, tenant: TenantId, expected: list[TenantState]) -> TenantRow:
        async with self._registry.transaction(SERVICE, read_only=True) as tx:
            row = await get_tenant(tx, tenant)
        if row.state in expected:
            await self._let_in(row)
        async with self._registry.transaction(SERVICE) as tx:
            row = await set_state(tx, tenant, TenantState.ACTIVE, expected=expected)
        self.fleet.invalidate(tenant)
        return row

    async def _let_in(self, row: TenantRow) -> None:
        managed = await find_managed(self.fleet.databases, row.place)
        if managed is not None:
            await open_again(managed)

    async def _purge(self, deletion: Deletion) -> None:
        async with self._registry.transaction(SERVICE, read_only=True) as tx:
            row = await find_tenant(tx, deletion.tenant)
        if row is not None:
            managed = await find_managed(self.fleet.databases, row.place)
            if managed is not None:
                if deletion.state == "waiting":
                    await self._archive(row)
                await managed.driver.drop_database(managed.spec)
            await failpoints.reach(DROPPED)
        if self.forget is not None:
            await self.forget(deletion.tenant)
        async with self._registry.transaction(SERVICE) as tx:
            await remove_tenant(tx, deletion.tenant)
            await tx.execute(QUERIES.note_dropped, deletion.tenant)

    async def _archive(self, row: TenantRow) -> None:
        self.archives.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self.archives / f"{row.fleet}-{row.id}.zip"
        path.unlink(missing_ok=True)  # Of an attempt that nobody noted.
        try:
            manifest = await export_tenant(self.fleet.databases, row, path)
        except DatabaseMissing:
            log.warning("tenant %s has no database to export", row.id)
            return
        await failpoints.reach(EXPORTED)
        async with self._registry.transaction(SERVICE) as tx:
            text = json.dumps(manifest.to_json())
            await tx.execute(QUERIES.note_export, row.id, str(path), text)
        await failpoints.reach(NOTED)


def _clone_refusal(source: TenantRow, target: TenantRow) -> str | None:
    if source.id == target.id:
        return "they are the same"
    if target.state is not TenantState.SUSPENDED:
        return "suspend it first, so that nobody works in it"
    if source.state not in (TenantState.ACTIVE, TenantState.SUSPENDED):
        return f"its source is {source.state.value}"
    if source.fleet != target.fleet or source.place.kind is not target.place.kind:
        return "they are of different kinds"
    if source.schema_version != target.schema_version:
        return "their schemas have different versions"
    return None


def _deletion(row: Any) -> Deletion:  # noqa: ANN401 - asyncpg.Record
    return Deletion(
        tenant=TenantId(row["tenant"]),
        fleet=row["fleet"],
        state=row["state"],
        reason=row["reason"],
        purge_at=row["purge_at"],
        archive=row["archive"],
        error=json.loads(row["error"]) if row["error"] is not None else None,
    )
