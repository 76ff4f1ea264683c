"""The connections to one tenant's database.

Small and lazy: none is opened before it is needed, at most a few are, and few callers may wait. A
pool is retired when the tenant's place or credentials change: it gives out nothing more, and what
is in use is closed when it comes back, so that no statement is cut off.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from bulkhead.engine.clock import monotonic_s
from bulkhead.engine.connections.breaker import Breaker, DatabaseUnavailable
from bulkhead.engine.connections.pool import PoolExhausted, PoolStats
from bulkhead.engine.drivers.errors import (
    LoginRefused,
    ServerUnreachable,
    SqlError,
    StatementTimeout,
)
from bulkhead.engine.errors import BulkheadError, Unavailable
from bulkhead.engine.fleet.budget import SLOW_S, Lease, ServerBudget
from bulkhead.engine.fleet.limits import PATIENCE_S, WAITING_MAX, PoolLimits
from bulkhead.engine.fleet.model import TenantId
from bulkhead.engine.fleet.refusal import PoolRetired
from bulkhead.engine.fleet.tenant_database import TenantDatabase, open_verified

Waiter = asyncio.Future[Lease | None]
"""Gets a connection, or None: the place for one."""


@dataclass(slots=True, eq=False)
class TenantPool:
    """Connections to `database`, which is `tenant`'s."""

    tenant: TenantId
    database: TenantDatabase
    budget: ServerBudget
    limits: PoolLimits
    breaker: Breaker = field(init=False)
    size: int = 0
    """Connections that are open or being opened."""
    stats: PoolStats = field(default_factory=PoolStats)
    has_connected: bool = False
    """Whether the tenant's database has been reached, here or at the place before."""
    is_suspect: bool = False
    """Whether its last statement has run out of time."""
    _idle: list[Lease] = field(default_factory=list)
    _out: dict[Lease, None] = field(default_factory=dict)
    """In use, the oldest first."""
    _waiters: deque[tuple[float, Waiter]] = field(default_factory=deque)
    _retired: bool = False
    _refusal: BulkheadError | None = None
    """Why the breaker is open, where waiting alone does not help."""
    _timer: asyncio.TimerHandle | None = None
    _drained: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.breaker = Breaker(str(self.tenant))
        self.budget.pools += 1

    @property
    def in_use(self) -> int:
        """How many connections are leased."""
        return len(self._out)

    @property
    def is_slow(self) -> bool:
        """Whether a statement has been running for a while."""
        oldest = next(iter(self._out), None)
        return oldest is not None and monotonic_s() - oldest.leased_at_s > SLOW_S

    @property
    def is_quiet(self) -> bool:
        """Whether nobody uses or awaits a connection."""
        return self.size == len(self._idle) and not self._waiters

    def acquire_now(self, now_s: float) -> Lease | None:
        """Lease a connection that is idle and known to be well; None when that takes longer."""
        idle = self._idle
        if not idle or self.breaker.opened:
            return None
        lease = idle[-1]
        if (
            now_s - lease.verified_at_s > self.limits.identity_every_s
            or lease.connection.is_closed()
        ):
            return None
        del idle[-1]
        self.budget.pick(lease)
        return self._lend(lease, now_s)

    async def acquire(self) -> Lease:
        """Lease a connection that is known to lead to the tenant's own database.

        Raises DatabaseUnavailable, PoolExhausted, PoolRetired, IdentityMismatch, and what
        `TenantDatabase.connect` raises.
        """
        if self._retired:
            raise PoolRetired(tenant=self.tenant)
        self._check_breaker()
        lease = self._take_idle()
        try:
            if lease is None:
                lease = await self._acquire_slowly()
            if monotonic_s() - lease.verified_at_s > self.limits.identity_every_s:
                lease = await self._verify(lease)
        except BaseException:
            self.breaker.abandoned()
            raise
        return self._lend(lease, monotonic_s())

    def release(self, lease: Lease, *, usable: bool) -> None:
        """Give a lease back; what is not `usable` is closed and its place is freed."""
        del self._out[lease]
        self._take_back(lease, usable=usable)
        if self._retired:
            self._note_drained()

    def give_back(self, lease: Lease) -> None:
        """Give back a connection that served well; as `release`, and the breaker hears of it."""
        if self.breaker.failures:
            self.succeeded()
        now_s = monotonic_s()
        if (
            self._retired
            or self._waiters
            or self.budget.has_queue
            or now_s - lease.opened_at_s > self.limits.age_s_max
        ):
            self.release(lease, usable=True)
            return
        del self._out[lease]
        self._idle.append(lease)
        self.budget.put(lease, now_s)

    def succeeded(self) -> None:
        """Note that the tenant's database has answered."""
        self.breaker.succeeded()
        if self.is_suspect:
            self.is_suspect = False
            self.budget.trust(self)

    def failed(self, error: BulkheadError) -> None:
        """Note that the tenant's server does not answer, or refuses; then nobody waits for it."""
        if isinstance(error, LoginRefused) and self.has_connected:
            self.breaker.abandoned()
            return  # The password is being changed, which is over in a moment.
        self.breaker.failed()
        if isinstance(error, StatementTimeout) and not self.is_suspect:
            self.is_suspect = True
            self.budget.suspect(self)
        self._refusal = None if isinstance(error, Unavailable | SqlError) else error
        if self.breaker.is_open:
            self._dismiss(self._unavailable)

    def retire(self) -> None:
        """Give out nothing more; what is in use is closed when it comes back."""
        if self._retired:
            return
        self._retired = True
        self.budget.leave(self)
        self.budget.pools -= 1
        self._dismiss(lambda: PoolRetired(tenant=self.tenant))
        while self._idle:
            self._close(self._idle[-1], idle=True)
        self._note_drained()

    async def drain(self, timeout_s: float) -> bool:
        """Retire, and wait until nothing is in use; False when the time was too short."""
        self.retire()
        try:
            async with asyncio.timeout(timeout_s):
                await self._drained.wait()
        except TimeoutError:
            return False
        return True

    def kill(self) -> None:
        """Retire, and cut off whatever is in use."""
        self.retire()
        for lease in self._out:
            lease.connection.terminate()

    def grant(self) -> bool:
        """Give the first one who waits a place for a connection; False when nobody does."""
        waiter = self._pop_waiter()
        if waiter is not None:
            self.size += 1
            waiter.set_result(None)
            self._queue_again()
        return waiter is not None

    def discard_idle(self, lease: Lease) -> None:
        """Close an idle connection whose place the budget gives to somebody else."""
        self.budget.pick(lease)
        self._idle.remove(lease)
        self.size -= 1
        lease.connection.terminate()

    def _check_breaker(self) -> None:
        try:
            self.breaker.check()
        except DatabaseUnavailable:
            raise self._unavailable() from None

    def _unavailable(self) -> BulkheadError:
        """Why the breaker is open."""
        if self._refusal is not None:
            return type(self._refusal)(**self._refusal.details)
        return DatabaseUnavailable(database=self.tenant)

    def _lend(self, lease: Lease, now_s: float) -> Lease:
        lease.leased_at_s = now_s
        self._out[lease] = None
        self.stats.acquired += 1
        return lease

    async def _acquire_slowly(self) -> Lease:
        started_s = monotonic_s()
        try:
            if self.size == 0 and self.budget.take(self):
                self.size += 1
                return await self._open()
            lease = await self._wait()
            return lease if lease is not None else await self._open()
        finally:
            self.stats.wait_s += monotonic_s() - started_s

    async def _open(self) -> Lease:
        """Open a connection at a place that was taken for it, and check whose database it is."""
        try:
            self.budget.breaker.check()
        except BulkheadError:
            self._free_place()
            raise
        try:
            connection = await open_verified(
                self.database, self.tenant, timeout_s=self.limits.connect_timeout_s
            )
        except BaseException as error:
            if isinstance(error, ServerUnreachable):
                self.budget.breaker.failed()
            else:
                self.budget.breaker.abandoned()
            if isinstance(error, BulkheadError):
                self.failed(error)
            self._free_place()
            raise
        self.budget.breaker.succeeded()
        if not self.is_suspect:  # That one can connect does not say that statements end.
            self.breaker.succeeded()
        self.has_connected = True
        now_s = monotonic_s()
        return Lease(self, connection, now_s, now_s)

    async def _verify(self, lease: Lease) -> Lease:
        """The lease, if it still leads to the tenant's database, else a new one.

        No statement of the caller has been sent, so that nothing can happen twice.
        """
        try:
            await lease.connection.verify_identity(
                self.tenant, timeout_s=self.limits.connect_timeout_s
            )
        except BulkheadError:
            lease.connection.terminate()
            return await self._open()
        except BaseException:
            self._close(lease)
            raise
        lease.verified_at_s = monotonic_s()
        return lease

    async def _wait(self) -> Lease | None:
        """Wait for a connection, or for a place for one, until the time is over."""
        if len(self._waiters) >= WAITING_MAX:
            self.stats.timeouts += 1
            raise PoolExhausted(database=self.tenant, timeout_s=0)
        loop = asyncio.get_running_loop()
        waiter: Waiter = loop.create_future()
        timer = loop.call_later(self.limits.acquire_timeout_s, self._give_up, waiter)
        self._waiters.append((monotonic_s(), waiter))
        if self.size == 0:
            self.budget.queue(self)
        elif self._timer is None:
            self._timer = loop.call_later(PATIENCE_S, self._want_more)
        self.stats.waiting += 1
        try:
            return await waiter
        except BaseException:
            self._pass_on(waiter)
            raise
        finally:
            timer.cancel()
            self.stats.waiting -= 1

    def _give_up(self, waiter: Waiter) -> None:
        if not waiter.done():
            self.stats.timeouts += 1
            limit_s = self.limits.acquire_timeout_s
            waiter.set_exception(PoolExhausted(database=self.tenant, timeout_s=limit_s))

    def _want_more(self) -> None:
        """Ask for another connection where somebody has waited for longer than that takes."""
        self._timer = None
        if not self._waiters:
            return
        left_s = self._waiters[0][0] + PATIENCE_S - monotonic_s()
        if left_s > 0:
            self._timer = asyncio.get_running_loop().call_later(left_s, self._want_more)
        else:
            self._queue_again()

    def _pass_on(self, waiter: Waiter) -> None:
        """Give what a waiter got after it had given up to the next one."""
        if not waiter.done():
            waiter.cancel()
        if waiter.cancelled() or waiter.exception() is not None:
            self._note_gone()
        elif (lease := waiter.result()) is None:
            self._free_place()
        else:
            self._take_back(lease, usable=True)

    def _note_gone(self) -> None:
        """Want no place any more when those behind have given up."""
        while self._waiters and self._waiters[0][1].done():
            self._waiters.popleft()
        if not self._waiters:
            self.budget.leave(self)

    def _dismiss(self, error: Callable[[], BulkheadError]) -> None:
        self.budget.leave(self)
        while (waiter := self._pop_waiter()) is not None:
            waiter.set_exception(error())

    def _pop_waiter(self) -> Waiter | None:
        """The first one who still waits."""
        self._note_gone()
        return self._waiters.popleft()[1] if self._waiters else None

    def _take_idle(self) -> Lease | None:
        while self._idle:
            lease = self._idle[-1]
            if lease.connection.is_closed():
                self._close(lease, idle=True)
                continue
            self._idle.pop()
            self.budget.pick(lease)
            return lease
        return None

    def _take_back(self, lease: Lease, *, usable: bool) -> None:
        now_s = monotonic_s()
        if (
            not usable
            or self._retired
            or now_s - lease.opened_at_s > self.limits.age_s_max
            or self.budget.wants_place(self, self._waiters[0][0] if self._waiters else None)
        ):
            self._close(lease)
        elif not self._waiters or not self._hand_over(lease):
            self._idle.append(lease)
            self.budget.put(lease, now_s)

    def _hand_over(self, lease: Lease) -> bool:
        waiter = self._pop_waiter()
        if waiter is not None:
            waiter.set_result(lease)
            self._note_gone()
        return waiter is not None

    def _queue_again(self) -> None:
        self._note_gone()
        if self._waiters and self.size < self.limits.size_max and not self._retired:
            self.budget.queue(self)
        else:
            self.budget.leave(self)

    def _close(self, lease: Lease, *, idle: bool = False) -> None:
        if idle:
            self._idle.remove(lease)
            self.budget.pick(lease)
        lease.connection.terminate()
        self._free_place()

    def _free_place(self) -> None:
        self.size -= 1
        self._queue_again()
        self.budget.give_back(self)
        self._note_drained()

    def _note_drained(self) -> None:
        if self._retired and self.size == 0:
            self._drained.set()
