"""A fleet: every tenant's database by the tenant's id.

`async with fleet.connection(tenant) as db` leases a connection, `fleet.transaction(tenant)` opens
it within a transaction, `fleet.query(tenant, statement)` runs one statement. Whatever happens to
one tenant's database stays with that tenant.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from bulkhead.engine.clock import monotonic_s
from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.drivers.errors import LoginRefused, is_connection_loss
from bulkhead.engine.errors import BulkheadError
from bulkhead.engine.fleet.block import ConnectionBlock, TenantTransaction, Use
from bulkhead.engine.fleet.budget import Lease, ServerBudget
from bulkhead.engine.fleet.cache import Entry, TenantCache, retire
from bulkhead.engine.fleet.connection import (
    Params,
    Statement,
    TenantConnection,
    leaves_traces,
    ordered,
    prepare,
)
from bulkhead.engine.fleet.databases import Databases
from bulkhead.engine.fleet.limits import STATEMENT_TIMEOUT_S, FleetLimits
from bulkhead.engine.fleet.model import TenantId, TenantRow, TenantState
from bulkhead.engine.fleet.pools import TenantPool
from bulkhead.engine.fleet.refusal import CLOSED, REFUSALS, SERVED, PoolRetired, refusal
from bulkhead.engine.fleet.registry import CHANNEL, get_tenant
from bulkhead.engine.fleet.statement import Row
from bulkhead.engine.fleet.tenant_database import Limited, TenantDatabase
from bulkhead.engine.messaging.listener import Listener
from bulkhead.engine.ongoing import is_being_cancelled

if TYPE_CHECKING:
    from bulkhead.engine.fleet.migrate_tenant import FleetMigrations

REAP_EVERY_S = 15.0
RETRY_S = 0.05
ROUNDS_MAX = 100
OUTSIDE = "outside"
"""What servers are called together that are not managed here."""


class Gate(Protocol):
    """Looks at a tenant before its database is opened."""

    @property
    def migrations(self) -> FleetMigrations:
        """Those that a tenant needs before the code can work with it."""

    def bears(self, tenant: TenantRow) -> bool:
        """Whether the code can work with the schema that the tenant has."""

    async def admit(self, tenant: TenantRow) -> None:
        """Return once the tenant can be served; raises why it cannot."""

    async def close(self, *, drain_s: float) -> None:
        """End what it does for tenants, which gets `drain_s` for that."""


@dataclass(slots=True)
class ServerUse:
    """What this process makes of a server, over all tenants on it."""

    limit: int | None = None
    """Of connections; None for servers that are not managed here, which are many."""
    pools: int = 0
    in_use: int = 0
    idle: int = 0
    waiting: int = 0
    """Requests that wait for a connection."""
    breakers_open: int = 0
    """Tenants whose database is left alone for a moment."""
    hosts_down: int = 0
    """Hosts to which no connection can be opened, whichever tenant asks."""


@dataclass(frozen=True, slots=True)
class FleetStats:
    """Figures of a fleet in this process."""

    tenants: int
    servers: Mapping[str, tuple[int, int, int]]
    """By host and port: connections open, of those idle, and the limit."""
    by_server: Mapping[str, ServerUse]
    """By the registry's name of a server; those that are not managed here are one, `outside`."""


@dataclass(slots=True, eq=False)
class Fleet:
    """The databases of the registry's fleet `name`."""

    name: str
    databases: Databases
    limits: FleetLimits = field(default_factory=FleetLimits)
    gate: Gate | None = None
    """Keeps tenants out whose schema is not what the code bears."""
    cache: TenantCache = field(init=False)
    _budgets: dict[str, ServerBudget] = field(default_factory=dict)
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)
    _timeout_s: float = 0.0

    def __post_init__(self) -> None:
        self._timeout_s = self.limits.statement_timeout_s + self.limits.answer_slack_s
        self.cache = TenantCache(self._load, self.limits.tenants_max, self.limits.row_ttl_s)

    def start(self) -> None:
        """Hear of changes at once, and close what is idle, in the background."""
        listener = Listener(self.databases.registry, self._hear, CHANNEL)
        self._tasks = [
            asyncio.create_task(listener.run()),
            asyncio.create_task(self._reap()),
        ]

    async def close(self, *, drain_s: float = 5.0) -> None:
        """Close every connection, waiting for those in use."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
            self._tasks.clear()
        if self.gate is not None:
            await self.gate.close(drain_s=drain_s)
        await self.cache.close(drain_s)

    def connection(
        self, tenant: TenantId, *, states: frozenset[TenantState] = SERVED
    ) -> ConnectionBlock:
        """A connection to the tenant's database; `async with` it.

        Raises TenantUnknown, TenantSuspended, TenantMoving, TenantNotReady, TenantDeleted unless
        the tenant is in one of `states`; DatabaseUnavailable, PoolExhausted, IdentityMismatch and
        what keeps its server from being reached.
        """
        return ConnectionBlock(self, tenant, states)

    def transaction(
        self,
        tenant: TenantId,
        *,
        read_only: bool = False,
        states: frozenset[TenantState] = SERVED,
    ) -> TenantTransaction:
        """A transaction in the tenant's database; `async with` it. Raises as `connection` does."""
        return TenantTransaction(self, tenant, states, read_only=read_only)

    async def query(
        self, tenant: TenantId, statement: Statement, params: Params = None
    ) -> Sequence[Row]:
        """Run one statement in the tenant's database and return its rows."""
        now_s = monotonic_s()
        entry = self.cache.fresh(tenant, now_s)
        if entry is None or entry.pool is None or not entry.is_active:
            return await self._query_slowly(tenant, statement, params)
        # The short way, without anything that a caller could hold on to.
        pool = entry.pool
        if type(statement) is str:
            sql, args, compiled = statement, ordered(params), None
            lasts = leaves_traces(sql, False)  # noqa: FBT003 - not wiped
        else:
            prepared = prepare(pool.database.dialect, statement, params)
            sql, args, compiled = prepared.sql, prepared.args, prepared.compiled
            lasts = prepared.leaves_traces
        if lasts or (lease := pool.acquire_now(now_s)) is None:
            return await self._query_slowly(tenant, statement, params)
        try:
            rows = await lease.connection.fetch(sql, args, timeout_s=self._timeout_s)
        except BaseException as error:
            use = self._use(pool, lease)
            use.connection.note_failure(error)
            self.release(use, error)
            raise
        pool.give_back(lease)
        return rows if compiled is None else compiled.convert(rows)

    async def _query_slowly(
        self, tenant: TenantId, statement: Statement, params: Params
    ) -> Sequence[Row]:
        async with self.connection(tenant) as connection:
            return await connection.fetch(statement, params)

    async def execute(self, tenant: TenantId, statement: Statement, params: Params = None) -> int:
        """Run one statement in the tenant's database and return how many rows it changed."""
        async with self.connection(tenant) as connection:
            return await connection.execute(statement, params)

    async def describe(self, tenant: TenantId) -> TenantRow:
        """The tenant's row, not older than the fleet allows; raises TenantUnknown."""
        return (await self.cache.get(tenant)).row

    def invalidate(self, tenant: TenantId) -> None:
        """Note that the tenant's row was changed by this process."""
        self.cache.invalidate(tenant)

    async def drain(self, tenant: TenantId, timeout_s: float) -> bool:
        """Have no connection to the tenant's database; False when some stayed in use.

        The tenant should be in a state in which it is not served, or new ones are opened.
        """
        self.cache.invalidate(tenant)
        entry = self.cache.peek(tenant)
        pool = entry.pool if entry is not None else None
        if entry is not None:
            retire(entry)
        return pool is None or await pool.drain(timeout_s)

    def stats(self) -> FleetStats:
        """Figures for metrics."""
        servers = {
            name: (budget.taken, budget.idle, budget.limit)
            for name, budget in self._budgets.items()
        }
        return FleetStats(len(self.cache), servers, self._uses())

    def _uses(self) -> dict[str, ServerUse]:
        uses: dict[str, ServerUse] = {}
        down: set[tuple[str, str]] = set()
        for entry in self.cache.entries():
            if (pool := entry.pool) is None:
                continue
            place = entry.row.place
            is_managed = (
                place.server is not None and place.sealed_connection is None and not place.is_own
            )
            name = str(place.server) if is_managed else OUTSIDE
            use = uses.setdefault(name, ServerUse())
            use.limit = pool.budget.limit if is_managed else None
            use.pools += 1
            use.in_use += pool.in_use
            use.idle += pool.size - pool.in_use
            use.waiting += pool.stats.waiting
            use.breakers_open += pool.breaker.is_open
            if pool.budget.breaker.is_open:
                down.add((name, pool.budget.server))
        for name, _ in down:
            uses[name].hosts_down += 1
        return uses

    async def lease(self, tenant: TenantId, states: frozenset[TenantState]) -> Use:
        """Lease a connection; `release` it. Prefer `connection`."""
        entry = await self.cache.get(tenant)
        if entry.row.state not in states:
            raise refusal(entry.row)
        try:
            pool = entry.pool or await self._pool(entry)
            lease = await pool.acquire()
        except (PoolRetired, *REFUSALS) as error:
            pool, lease = await self._lease_anew(entry, states, error)
        return self._use(pool, lease)

    def release(self, use: Use, error: BaseException | None) -> None:
        """Give back what `lease` gave; `error` is what ended its use."""
        pool, connection = use.pool, use.connection
        usable = not (connection.spent or connection.in_transaction)
        if (failure := connection.failure) is not None:
            pool.failed(failure)
            if is_connection_loss(failure):
                usable = False
                self.cache.doubt(connection.tenant)
        elif error is None:
            pool.succeeded()
        else:
            pool.breaker.abandoned()
            usable = usable and not isinstance(error, asyncio.CancelledError)
        pool.release(use.lease, usable=usable)

    def _use(self, pool: TenantPool, lease: Lease) -> Use:
        return Use(pool, lease, TenantConnection(lease.connection, pool.tenant, self._timeout_s))

    async def _lease_anew(
        self, entry: Entry, states: frozenset[TenantState], error: BulkheadError
    ) -> tuple[TenantPool, Lease]:
        """Lease after the tenant's place or password turned out to be another."""
        deadline_s = monotonic_s() + self.limits.login_patience_s
        for _ in range(ROUNDS_MAX):
            if isinstance(error, PoolRetired):
                entry = await self.cache.get(entry.row.id)
            else:
                entry = await self._look_again(entry, error, deadline_s)
            if entry.row.state not in states:
                raise refusal(entry.row)
            try:
                pool = entry.pool or await self._pool(entry)
                return pool, await pool.acquire()
            except (PoolRetired, *REFUSALS) as again:
                error = again
        raise error

    async def _look_again(self, entry: Entry, error: BulkheadError, deadline_s: float) -> Entry:
        """Read where a tenant is that has refused us; raises `error` when that helps no more."""
        place = entry.row.place
        try:
            entry = await self.cache.refresh(entry.row.id)
        except BulkheadError:
            raise error from None
        if entry.row.place == place:
            if not isinstance(error, LoginRefused) or not entry.worked_before:
                raise error
            if monotonic_s() > deadline_s:
                entry.forget_success()  # The next one is refused at once.
                raise error
            await asyncio.sleep(RETRY_S)
        return entry

    async def _pool(self, entry: Entry) -> TenantPool:
        """The entry's pool, made once however many ask for it."""
        if entry.pool is not None:
            return entry.pool
        if entry.opening is None:
            entry.opening = asyncio.create_task(self._make_pool(entry))
        opening = entry.opening
        try:
            return await asyncio.shield(opening)
        except asyncio.CancelledError:
            if opening.cancelled() and not is_being_cancelled():
                raise PoolRetired(tenant=entry.row.id) from None
            raise

    async def _make_pool(self, entry: Entry) -> TenantPool:
        task = asyncio.current_task()
        row = entry.row
        try:
            if self.gate is not None:
                await self.gate.admit(row)
            opened = await self.databases.open(row)
        finally:
            if entry.opening is task:
                entry.opening = None
        if entry.row.place != row.place or self.cache.peek(row.id) is not entry:
            raise PoolRetired(tenant=row.id)
        budget = self._budget(opened.database.server, opened.connections_max)
        pool = TenantPool(row.id, self._limited(opened.database), budget, self.limits.pool)
        pool.has_connected = entry.had_connected
        entry.pool = pool
        return pool

    def _limited(self, database: TenantDatabase) -> TenantDatabase:
        limit_s = self.limits.statement_timeout_s
        return database if limit_s == STATEMENT_TIMEOUT_S else Limited(database, limit_s)

    def _budget(self, server: str, limit: int) -> ServerBudget:
        budget = self._budgets.get(server)
        if budget is None:
            budget = self._budgets[server] = ServerBudget(server, limit)
        budget.limit = limit
        return budget

    async def _load(self, tenant: TenantId) -> TenantRow:
        async with self.databases.registry.transaction(SERVICE, read_only=True) as tx:
            row = await get_tenant(tx, tenant)
        entry = self.cache.peek(tenant)
        if row.state in CLOSED and entry is not None:
            retire(entry)
        return row

    def _hear(self, tenants: frozenset[str]) -> None:
        if not tenants:
            self.cache.expire()
        for tenant in tenants:
            self.cache.invalidate_text(tenant)

    async def _reap(self) -> None:
        while True:
            await asyncio.sleep(REAP_EVERY_S)
            self.reap()

    def reap(self) -> None:
        """Close what has been idle for too long, and forget servers that nobody uses."""
        before_s = monotonic_s() - self.limits.idle_s_max
        for name, budget in list(self._budgets.items()):
            budget.reap(before_s)
            if not budget.pools and not budget.taken:
                del self._budgets[name]
