"""What this process knows of tenants: their rows, and pools that live as long as their places.

A row is read once however many ask for it at the same time. Changes are told by the registry; a
row that nobody spoke of is read again after a while, in the background, so that nobody waits for
it. Where the registry is away, what was known last serves on.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from uuid import UUID

from bulkhead.engine.clock import monotonic_s
from bulkhead.engine.errors import BulkheadError
from bulkhead.engine.fleet.model import TenantId, TenantRow, TenantState
from bulkhead.engine.fleet.pools import TenantPool
from bulkhead.engine.fleet.registry import TenantUnknown

TTL_S = 30.0
"""After that a row is read again; a listener hears of changes at once."""
SERVE_S_MAX = 900.0
"""For how long a row serves on while the registry is away."""
RETRY_S = 1.0
LOADS_MAX = 3
"""How often a row is read again because it changed while it was read."""
AWAY = 503

log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class Entry:
    """A tenant as this process knows it."""

    row: TenantRow
    loaded_at_s: float
    ttl_s: float
    changed: bool = False
    """Whether it is known that the row is no longer right."""
    is_active: bool = False
    """Whether the row says that the tenant is served."""
    pool: TenantPool | None = None
    is_wanted: bool = False
    """Whether it was asked for since it was last looked at for eviction."""
    retry_at_s: float = 0.0
    """Until then the registry is not asked again, because it was away."""
    had_connected: bool = False
    """Whether the tenant's database could be reached before its place changed."""
    opening: asyncio.Task[TenantPool] | None = None

    @property
    def age_s(self) -> float:
        """How long ago the row was read."""
        return monotonic_s() - self.loaded_at_s

    @property
    def worked_before(self) -> bool:
        """Whether this process has been connected to the tenant's database, here or before."""
        return self.had_connected or (self.pool is not None and self.pool.has_connected)

    def forget_success(self) -> None:
        """Take it that the tenant's database cannot be reached any more."""
        self.had_connected = False
        if self.pool is not None:
            self.pool.has_connected = False


@dataclass(slots=True, eq=False)
class _Load:
    task: asyncio.Task[Entry]
    changed: bool = False


@dataclass(slots=True, eq=False)
class TenantCache:
    """At most `entries_max` tenants, those that were asked for lately."""

    load: Callable[[TenantId], Awaitable[TenantRow]]
    entries_max: int = 10_000
    ttl_s: float = TTL_S
    _entries: OrderedDict[TenantId, Entry] = field(default_factory=OrderedDict)
    _loading: dict[TenantId, _Load] = field(default_factory=dict)

    def __len__(self) -> int:
        """How many tenants are known."""
        return len(self._entries)

    def peek(self, tenant: TenantId) -> Entry | None:
        """What is known of the tenant at the moment."""
        return self._entries.get(tenant)

    def entries(self) -> Iterable[Entry]:
        """Everything that is known at the moment."""
        return tuple(self._entries.values())

    def fresh(self, tenant: TenantId, now_s: float) -> Entry | None:
        """What is known of the tenant if it is known for sure; costs nothing."""
        entry = self._entries.get(tenant)
        if entry is None or entry.changed or now_s - entry.loaded_at_s > entry.ttl_s:
            return None
        entry.is_wanted = True
        return entry

    async def get(self, tenant: TenantId) -> Entry:
        """What is known of the tenant; raises TenantUnknown, or why the registry is away."""
        if (entry := self.fresh(tenant, monotonic_s())) is not None:
            return entry
        entry = self._entries.get(tenant)
        if entry is not None and not entry.changed and monotonic_s() < entry.retry_at_s:
            return entry
        if entry is None or entry.changed or entry.age_s > 2 * entry.ttl_s:
            return await self._get_anew(tenant, entry)
        self._begin(tenant)
        return entry

    async def refresh(self, tenant: TenantId) -> Entry:
        """Read the row again; raises TenantUnknown, or why the registry is away."""
        return await asyncio.shield(self._begin(tenant).task)

    def invalidate(self, tenant: TenantId) -> None:
        """Note that the tenant has changed: what is known of it must not be used any more."""
        if (entry := self._entries.get(tenant)) is not None:
            entry.changed = True
        if (load := self._loading.get(tenant)) is not None:
            load.changed = True

    def invalidate_text(self, tenant: str) -> None:
        """As `invalidate`, for what came over the network."""
        try:
            self.invalidate(TenantId(UUID(tenant)))
        except ValueError:
            log.warning("the registry told of something that is no tenant")

    def doubt(self, tenant: TenantId) -> None:
        """Note that the tenant may have changed: its row is read again when it is next used."""
        if (entry := self._entries.get(tenant)) is not None:
            entry.loaded_at_s = min(entry.loaded_at_s, monotonic_s() - entry.ttl_s - 1)

    def expire(self) -> None:
        """Note that changes may have been missed: read every row again before it is used."""
        for entry in self._entries.values():
            entry.loaded_at_s = min(entry.loaded_at_s, monotonic_s() - 2 * entry.ttl_s - 1)
        for load in self._loading.values():
            load.changed = True

    def forget(self, tenant: TenantId) -> None:
        """Know nothing of the tenant; connections in use are closed when they come back."""
        if (entry := self._entries.pop(tenant, None)) is not None:
            retire(entry)

    async def close(self, drain_s: float) -> None:
        """Forget everything, waiting for connections in use."""
        for load in list(self._loading.values()):
            load.task.cancel()
        entries = list(self._entries.values())
        self._entries.clear()
        deadline_s = monotonic_s() + drain_s
        for entry in entries:
            retire(entry)
        for entry in entries:
            if entry.pool is not None and not await entry.pool.drain(
                max(0.0, deadline_s - monotonic_s())
            ):
                entry.pool.kill()

    async def _get_anew(self, tenant: TenantId, known: Entry | None) -> Entry:
        try:
            return await self.refresh(tenant)
        except TenantUnknown:
            raise
        except BulkheadError as error:
            if known is None or known.changed or error.status != AWAY:
                raise
            if known.age_s > SERVE_S_MAX + 2 * known.ttl_s:
                raise
            log.info("the registry is away; tenant %s is served as it was", tenant)
            known.retry_at_s = monotonic_s() + RETRY_S
            return known

    def _begin(self, tenant: TenantId) -> _Load:
        load = self._loading.get(tenant)
        if load is None:
            load = _Load(asyncio.create_task(self._load(tenant)))
            self._loading[tenant] = load
            load.task.add_done_callback(lambda task: self._end(tenant, task))
        return load

    def _end(self, tenant: TenantId, task: asyncio.Task[Entry]) -> None:
        del self._loading[tenant]
        if not task.cancelled() and (error := task.exception()) is not None:
            log.debug("tenant %s: %s", tenant, error)

    async def _load(self, tenant: TenantId) -> Entry:
        for _ in range(LOADS_MAX):
            began_s = monotonic_s()
            try:
                row = await self.load(tenant)
            except TenantUnknown:
                self.forget(tenant)
                raise
            load = self._loading[tenant]
            changed, load.changed = load.changed, False
            entry = self._keep(row, began_s, changed=changed)
            if not changed:
                break
        return entry

    def _keep(self, row: TenantRow, loaded_at_s: float, *, changed: bool) -> Entry:
        entry = self._entries.get(row.id)
        if entry is None:
            entry = Entry(row, loaded_at_s, self._ttl_s(), changed)
            entry.is_active = row.state is TenantState.ACTIVE
            self._make_room()
            self._entries[row.id] = entry
            return entry
        if row.place != entry.row.place:
            retire(entry)
        entry.row, entry.loaded_at_s, entry.changed = row, loaded_at_s, changed
        entry.is_active = row.state is TenantState.ACTIVE
        entry.ttl_s = self._ttl_s()
        entry.is_wanted = True
        return entry

    def _make_room(self) -> None:
        """Forget the oldest that nobody asked for since it was last looked at: a second chance.

        As good as forgetting the least recently used one, and asking costs next to nothing.
        """
        while len(self._entries) >= self.entries_max:
            tenant, entry = self._entries.popitem(last=False)
            if entry.is_wanted:
                entry.is_wanted = False
                self._entries[tenant] = entry
            else:
                retire(entry)

    def _ttl_s(self) -> float:
        return self.ttl_s * random.uniform(0.8, 1.2)  # noqa: S311


def retire(entry: Entry) -> None:
    """Let the entry have no pool; what is in use of the old one is closed when it comes back."""
    if entry.opening is not None:
        entry.opening.cancel()
        entry.opening = None
    if entry.pool is not None:
        entry.had_connected = entry.worked_before
        entry.pool.retire()
        entry.pool = None
