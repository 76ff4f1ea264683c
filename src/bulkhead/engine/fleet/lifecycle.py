"""What happens to a tenant after it was provisioned: suspend, resume, delete, restore, purge.

Each use case changes the registry first, which closes or opens the tenant for every process, and
then the server; each may be repeated after it was interrupted anywhere. A server that is away is
told later, by a job: that it has to be told stands in the registry beside the state. A deleted
tenant is closed at once and can be restored; when its time of grace is over its rows go into an
archive, and only then the database is dropped.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bulkhead.engine import failpoints
from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.drivers.errors import DatabaseMissing
from bulkhead.engine.errors import BulkheadError, Conflict
from bulkhead.engine.fleet.archive import Manifest
from bulkhead.engine.fleet.copy_lock import copying_alone
from bulkhead.engine.fleet.copying import replace_rows
from bulkhead.engine.fleet.export import export_tenant
from bulkhead.engine.fleet.fence import DRAIN_S, fence, open_again
from bulkhead.engine.fleet.fleet import Fleet
from bulkhead.engine.fleet.model import TenantId, TenantRow, TenantState
from bulkhead.engine.fleet.notices import (
    CLOSED,
    ServerUntold,
    add_notice,
    claim_notices,
    end_notice,
    is_away,
    note_failure,
)
from bulkhead.engine.fleet.owner import find_managed
from bulkhead.engine.fleet.purge import QUERIES, Deletion, Purger, deletion_of
from bulkhead.engine.fleet.registry import (
    TenantUnknown,
    find_tenant,
    get_tenant,
    set_state,
)

GRACE_S: Final = 30 * 86400.0
PURGES_MAX: Final = 10
NOTICES_MAX: Final = 50

CLOSED_IN_REGISTRY: Final = failpoints.register("fleet.lifecycle:closed_in_registry")
OPENED_IN_REGISTRY: Final = failpoints.register("fleet.lifecycle:opened_in_registry")
OPENED_AHEAD: Final = failpoints.register("fleet.lifecycle:opened_ahead")
TOLD: Final = failpoints.register("fleet.lifecycle:told")
FENCED: Final = failpoints.register("fleet.lifecycle:fenced")

SETTLED: Final = CLOSED | {TenantState.ACTIVE}
"""States in which a server lets a tenant in, or does not, for good."""

log = logging.getLogger(__name__)


class TenantGone(Conflict):
    """Tenant {tenant} cannot be restored: {reason}."""

    code = "tenant_gone"
    hint = "Its archive can be loaded into a new tenant."


class CloneRefused(Conflict):
    """Tenant {target} cannot become a clone of {source}: {reason}."""

    code = "tenant_clone_refused"


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

        Raises TenantUnknown, TenantChanged for one that is neither active nor suspended, and
        ServerUntold when it is suspended, but its server is away.
        """
        expected = [TenantState.ACTIVE, TenantState.SUSPENDED]
        async with self._registry.transaction(SERVICE) as tx:
            row = await set_state(
                tx, tenant, TenantState.SUSPENDED, expected=expected, reason=reason
            )
            await add_notice(tx, row)
        await failpoints.reach(CLOSED_IN_REGISTRY)
        await self._tell(row, drain_s)
        return row

    async def resume(self, tenant: TenantId) -> TenantRow:
        """Serve a suspended tenant again.

        Raises TenantUnknown, TenantChanged, and ServerUntold when it is active, but its server is
        away.
        """
        expected = [TenantState.SUSPENDED, TenantState.ACTIVE]
        async with self._registry.transaction(SERVICE, read_only=True) as tx:
            row = await get_tenant(tx, tenant)
        away = await self._open_ahead(row) if row.state in expected else None
        async with self._shutting_again(tenant), self._registry.transaction(SERVICE) as tx:
            row = await set_state(tx, tenant, TenantState.ACTIVE, expected=expected)
            await add_notice(tx, row)
        self.fleet.invalidate(tenant)
        await failpoints.reach(OPENED_IN_REGISTRY)
        await self._tell(row, away=away)
        return row

    async def delete(
        self, tenant: TenantId, *, reason: str = "", grace_s: float | None = None
    ) -> Deletion:
        """Close the tenant at once, and drop its database when `grace_s` is over.

        Raises TenantUnknown, TenantChanged for one that is being provisioned or moved, and
        ServerUntold when it is closed, but its server is away.
        """
        grace_s = self.grace_s if grace_s is None else grace_s
        async with self._registry.transaction(SERVICE) as tx:
            expected = [TenantState.ACTIVE, TenantState.SUSPENDED, TenantState.DELETING]
            row = await set_state(
                tx, tenant, TenantState.DELETING, expected=expected, reason=reason or None
            )
            await tx.execute(QUERIES.add_deletion, tenant, row.fleet, reason, grace_s)
            deletion = deletion_of(await tx.fetchrow(QUERIES.find_deletion, tenant))
            await add_notice(tx, row)
        await failpoints.reach(CLOSED_IN_REGISTRY)
        await self._tell(row)
        return deletion

    async def get_deletion(self, tenant: TenantId) -> Deletion:
        """The deletion of a tenant, also when it is over; raises TenantUnknown without one."""
        async with self._registry.transaction(SERVICE, read_only=True) as tx:
            row = await tx.fetchrow(QUERIES.find_deletion, tenant)
        if row is None:
            raise TenantUnknown(tenant=tenant)
        return deletion_of(row)

    async def restore(self, tenant: TenantId) -> TenantRow:
        """Take a deletion back.

        Raises TenantGone when its time of grace is over, TenantChanged for one that is not deleted,
        and ServerUntold when the tenant is active, but its server is away.
        """
        async with self._registry.transaction(SERVICE, read_only=True) as tx:
            row = await find_tenant(tx, tenant)
        if row is None:
            raise TenantGone(tenant=tenant, reason="its time of grace is over")
        expected = [TenantState.DELETING, TenantState.ACTIVE]
        away = await self._open_ahead(row) if row.state in expected else None
        if row.state is TenantState.ACTIVE:
            return row
        async with self._shutting_again(tenant), self._registry.transaction(SERVICE) as tx:
            # In the order in which a deletion locks the two.
            row = await set_state(tx, tenant, TenantState.ACTIVE, expected=[TenantState.DELETING])
            if await tx.fetchrow(QUERIES.forget_deletion, tenant) is None:
                raise TenantGone(tenant=tenant, reason="its time of grace is over")
            await add_notice(tx, row)
        self.fleet.invalidate(tenant)
        await failpoints.reach(OPENED_IN_REGISTRY)
        await self._tell(row, away=away)
        return row

    async def tell_servers(self, limit: int = NOTICES_MAX) -> int:
        """Tell servers that were away whom to let in, and return how many were told; for a job.

        A server that is still away keeps those waiting only that are on it.
        """
        async with self._registry.transaction(SERVICE) as tx:
            notices = await claim_notices(tx, self.fleet.name, limit)
        told, away = 0, set[str | None]()
        for notice in notices:
            async with self._registry.transaction(SERVICE, read_only=True) as tx:
                row = await find_tenant(tx, notice.tenant)
            if row is None or row.place.server in away:
                continue
            try:
                await self._settle(row, DRAIN_S)
            except BulkheadError as error:
                log.warning("the server of tenant %s is told later: %s", row.id, error)
                if is_away(error):
                    away.add(row.place.server)
                async with self._registry.transaction(SERVICE) as tx:
                    await note_failure(tx, row.id, error, notice.attempts)
            else:
                told += 1
        return told

    async def list_deletions(self) -> tuple[Deletion, ...]:
        """Those that are not at their end, the next one first."""
        async with self._registry.transaction(SERVICE, read_only=True) as tx:
            rows = await tx.fetch(QUERIES.list_deletions, self.fleet.name)
        return tuple(deletion_of(row) for row in rows)

    async def purge_due(self, limit: int = PURGES_MAX) -> int:
        """Export and drop those whose time is over, and return how many; for a job.

        What fails, or was left half done by a process that died, is tried again later.
        """
        return await Purger(self.fleet, self.archives, self.forget).purge_due(limit)

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
        have the same schema on the same kind of server, and `target` is suspended; CopyUnderway
        while rows come into it already; and what `replace_rows` raises.
        """
        async with self.copying_alone(target):
            origin, copy = await self.verify_clone(source, target)
            return await replace_rows(self.fleet.databases, origin, copy)

    def copying_alone(self, tenant: TenantId) -> AbstractAsyncContextManager[None]:
        """Let nobody else bring rows into the tenant until the block ends; raises CopyUnderway."""
        return copying_alone(self._registry, tenant)

    async def verify_clone(self, source: TenantId, target: TenantId) -> tuple[TenantRow, TenantRow]:
        """Pass when `target` may become a clone of `source`; raises CloneRefused."""
        async with self._registry.transaction(SERVICE, read_only=True) as tx:
            origin, copy = await get_tenant(tx, source), await get_tenant(tx, target)
        if (reason := _clone_refusal(origin, copy)) is not None:
            raise CloneRefused(source=source, target=target, reason=reason)
        return origin, copy

    @property
    def _registry(self) -> Any:  # noqa: ANN401
        return self.fleet.databases.registry

    async def _tell(
        self, row: TenantRow, drain_s: float = DRAIN_S, *, away: BulkheadError | None = None
    ) -> None:
        """Tell the server of the tenant's new state, unless it was `away`; raises ServerUntold."""
        error = away
        if error is None:
            try:
                await self._settle(row, drain_s)
            except BulkheadError as failure:
                error = failure
            else:
                return
        async with self._registry.transaction(SERVICE) as tx:
            await note_failure(tx, row.id, error, attempts=1)
        raise ServerUntold(
            tenant=row.id, state=row.state.value, server=row.place.server, reason=error.message
        ) from error

    async def _settle(self, row: TenantRow, drain_s: float) -> None:
        """Have the server do as the registry says, also when that changes meanwhile."""
        now: TenantRow | None = row
        while now is not None and now.state in SETTLED:
            row = now
            if row.state is TenantState.ACTIVE:
                await self._let_in(row)
            else:
                await self._shut(row, drain_s)
            await failpoints.reach(TOLD)
            async with self._registry.transaction(SERVICE) as tx:
                now = await find_tenant(tx, row.id)
                if now is None or (now.state, now.place) == (row.state, row.place):
                    await end_notice(tx, now or row)
                    return

    async def _open_ahead(self, row: TenantRow) -> BulkheadError | None:
        """Let the tenant in before anybody is sent there; what keeps the server away if it is."""
        try:
            await self._let_in(row)
        except BulkheadError as error:
            if not is_away(error):
                raise
            return error
        await failpoints.reach(OPENED_AHEAD)
        return None

    @asynccontextmanager
    async def _shutting_again(self, tenant: TenantId) -> AsyncIterator[None]:
        """Have the server told anew if a tenant for which it was opened ahead stays closed."""
        try:
            yield
        except BulkheadError:
            async with self._registry.transaction(SERVICE) as tx:
                row = await find_tenant(tx, tenant)
                if row is not None and row.state in CLOSED:
                    await add_notice(tx, row)
            raise

    async def _shut(self, row: TenantRow, drain_s: float) -> None:
        """Have no connection to the database, neither in this process nor in another."""
        await self.fleet.drain(row.id, drain_s)
        managed = await find_managed(self.fleet.databases, row.place)
        if managed is not None:
            with suppress(DatabaseMissing):  # Then nobody is in it.
                await fence(managed, drain_s=drain_s)
        await failpoints.reach(FENCED)

    async def _let_in(self, row: TenantRow) -> None:
        managed = await find_managed(self.fleet.databases, row.place)
        if managed is not None:
            await open_again(managed)


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
