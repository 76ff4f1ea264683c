"""A leased, bounded pool of connections to one database under one login.

Pools are small and lazy: none is opened before it is needed, one server-wide budget bounds their
sum, and a pool in need takes the place of another pool's idle connection. Whoever waits is served
in order and gives up after a time-out instead of piling up.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from bulkhead.engine.clock import monotonic_s
from bulkhead.engine.connections.breaker import Breaker
from bulkhead.engine.errors import BulkheadError, Unavailable

Connection = Any  # asyncpg's connection class is generic over records; drivers own its type.

log = logging.getLogger(__name__)

IDLE_S_MAX = 60.0
AGE_S_MAX = 3600.0
UNFINISHED_S_MAX = 0.005
"""How long the end of a transaction waits for a beginning to travel with."""


class PoolExhausted(Unavailable):
    """No connection to database '{database}' became free within {timeout_s} s."""

    code = "pool_exhausted"
    status = 503
    retry_after_s = 1
    hint = "Raise BULKHEAD_POOL_SIZE, or find the slow statements: bulkhead database show."


class PoolClosed(Unavailable):
    """The connections to database '{database}' are being closed."""

    code = "pool_closed"
    status = 503
    retry_after_s = 1


class Budget:
    """How many connections one server may carry over all of its pools."""

    def __init__(self, limit: int) -> None:
        """Start with nothing taken of `limit`."""
        self.limit = limit
        self.taken = 0
        self.pools: list[Pool] = []

    def take(self) -> bool:
        """Take one connection's place, closing another pool's idle connection if need be."""
        if self.taken >= self.limit and not any(pool.give_up_idle() for pool in self.pools):
            return False
        self.taken += 1
        return True

    def give_back(self) -> None:
        """Free one place and tell a pool that waits for it."""
        self.taken -= 1
        for pool in self.pools:
            if pool.is_starving and pool.wake_one():
                return

    def somebody_starves(self, asking: "Pool") -> bool:
        """Whether another pool waits that has no connection at all."""
        return self.taken >= self.limit and any(
            pool.is_starving for pool in self.pools if pool is not asking
        )


@dataclass(slots=True)
class Lease:
    """A connection in use; give it back with `Pool.release`."""

    connection: Connection
    opened_at_s: float
    idle_since_s: float = 0.0
    unfinished: str = ""
    """What ends the transaction before, where that is still to be sent: in front of whatever is
    sent next, and soon by the pool when nothing is."""


@dataclass(slots=True)
class PoolStats:
    """Figures for metrics; seconds are sums since the start."""

    size: int = 0
    in_use: int = 0
    waiting: int = 0
    acquired: int = 0
    wait_s: float = 0.0
    timeouts: int = 0


@dataclass(slots=True, eq=False)
class Pool:
    """Connections made by `connect`, at most `size_max` of them."""

    database: str
    connect: Callable[[], Awaitable[Connection]]
    budget: Budget
    breaker: Breaker
    size_max: int = 10
    acquire_timeout_s: float = 5.0
    shares_sessions: bool = False
    """Whether a pooler gives each transaction another session, and that one to others."""
    size: int = 0
    _idle: list[Lease] = field(default_factory=list)
    _waiters: deque[asyncio.Future[Lease | None]] = field(default_factory=deque)
    _closed: bool = False
    _drained: asyncio.Event | None = None
    _timer: asyncio.TimerHandle | None = None
    _finishing: set[asyncio.Task[None]] = field(default_factory=set)
    stats: PoolStats = field(default_factory=PoolStats)

    def __post_init__(self) -> None:
        self.budget.pools.append(self)

    @property
    def is_starving(self) -> bool:
        """Whether somebody waits while the pool has no connection that could come free."""
        return bool(self._waiters) and self.size == 0

    async def acquire(self) -> Lease:
        """Lease a connection; raises PoolExhausted, PoolClosed, DatabaseUnavailable."""
        self.breaker.check()
        self.stats.acquired += 1
        lease = self._take_idle()
        if lease is None:
            try:
                lease = await self._acquire_slowly()
            except BaseException:
                self.breaker.abandoned()
                raise
        self.stats.in_use += 1
        return lease

    def release(self, lease: Lease, *, usable: bool) -> None:
        """Give a lease back; an unusable connection is closed and its place is freed."""
        self.stats.in_use -= 1
        self._take_back(lease, usable=usable)
        self._tell_drained()

    def give_up_idle(self) -> bool:
        """Close the connection that has been idle longest; False when none is idle."""
        if not self._idle:
            return False
        self._discard(self._idle.pop(0), wake=False)
        return True

    def reap(self) -> None:
        """Close connections that have been idle for too long."""
        limit_s = monotonic_s() - IDLE_S_MAX
        while self._idle and self._idle[0].idle_since_s < limit_s:
            self._discard(self._idle.pop(0))

    def wake_one(self) -> bool:
        """Let the first one that waits try again; False when nobody waits."""
        return self._hand_over(None)

    async def settle(self) -> None:
        """End what still waits for a beginning to travel with, and wait until it has ended."""
        for lease in [lease for lease in self._idle if lease.unfinished]:
            self._finish_now(lease)
        if self._finishing:
            await asyncio.wait(self._finishing)

    async def close(self, *, drain_s: float = 5.0) -> None:
        """Refuse new leases, wait for those in use, close everything."""
        self._closed = True
        while self._hand_over(None):
            pass
        while self.give_up_idle():
            pass
        if self.stats.in_use:
            self._drained = asyncio.Event()
            try:
                async with asyncio.timeout(drain_s):
                    await self._drained.wait()
            except TimeoutError:
                pass
        if self in self.budget.pools:
            self.budget.pools.remove(self)

    def _take_back(self, lease: Lease, *, usable: bool) -> None:
        age_s = monotonic_s() - lease.opened_at_s
        if (
            not usable
            or self._closed
            or age_s > AGE_S_MAX
            or lease.connection.is_closed()
            or (not self._waiters and self.budget.somebody_starves(self))
        ):
            self._discard(lease)
        elif not self._hand_over(lease):
            lease.idle_since_s = monotonic_s()
            self._idle.append(lease)
            if lease.unfinished and self._timer is None:
                self._finish_later()

    def _finish_later(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._patience_s, self._finish_idle)

    @property
    def _patience_s(self) -> float:
        """Until a read has ended, a session that is shared is nobody else's."""
        return 0.0 if self.shares_sessions else UNFINISHED_S_MAX

    def _finish_idle(self) -> None:
        """End what has waited for long enough, in the background; look again where some waits."""
        self._timer = None
        limit_s = monotonic_s() - self._patience_s
        unfinished = [lease for lease in self._idle if lease.unfinished]
        for lease in unfinished:
            if lease.idle_since_s <= limit_s:
                self._finish_now(lease)
            elif self._timer is None:
                self._finish_later()

    def _finish_now(self, lease: Lease) -> None:
        self._idle.remove(lease)
        self._finishing.add(asyncio.create_task(self._finish(lease)))

    async def _finish(self, lease: Lease) -> None:
        usable = False
        try:
            await lease.connection.execute(lease.unfinished, timeout=self.acquire_timeout_s)
            lease.unfinished = ""
            usable = True
        except Exception:
            log.info("a connection was lost after its last transaction", exc_info=True)
        finally:
            self._finishing = {
                task for task in self._finishing if task is not asyncio.current_task()
            }
            self._take_back(lease, usable=usable)

    def _may_open(self) -> bool:
        """Whether there is room for one more, and nothing comes free in a moment anyway."""
        return self.size < self.size_max and len(self._waiters) >= len(self._finishing)

    def _take_idle(self) -> Lease | None:
        while self._idle:
            lease = self._idle.pop()
            if not lease.connection.is_closed():
                return lease
            self._discard(lease)
        return None

    async def _acquire_slowly(self) -> Lease:
        started_s = monotonic_s()
        opening = False
        try:
            while True:
                if self._closed:
                    raise PoolClosed(database=self.database)
                if (lease := self._take_idle()) is not None:
                    return lease
                left_s = self.acquire_timeout_s - (monotonic_s() - started_s)
                if self._may_open() and self.budget.take():
                    opening = True
                    async with asyncio.timeout(left_s):
                        return await self._open()
                if (lease := await self._wait(left_s)) is not None:
                    return lease
        except TimeoutError:
            self.stats.timeouts += 1
            if opening:  # The server accepts connections and does not answer.
                self.breaker.failed()
            raise PoolExhausted(database=self.database, timeout_s=self.acquire_timeout_s) from None
        finally:
            self.stats.wait_s += monotonic_s() - started_s

    async def _open(self) -> Lease:
        self.size += 1
        try:
            connection = await self.connect()
        except BaseException as error:
            self.size -= 1
            self.budget.give_back()
            if isinstance(error, BulkheadError):
                self.breaker.failed()
            self.wake_one()
            raise
        self.breaker.succeeded()
        return Lease(connection, monotonic_s())

    async def _wait(self, left_s: float) -> Lease | None:
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[Lease | None] = loop.create_future()
        # A timer of its own costs a fifth of `asyncio.timeout`.
        timer = loop.call_later(left_s, _expire, waiter)
        self._waiters.append(waiter)
        self.stats.waiting += 1
        try:
            return await waiter
        except BaseException:
            self._pass_on(waiter)
            raise
        finally:
            timer.cancel()
            self.stats.waiting -= 1

    def _pass_on(self, waiter: asyncio.Future[Lease | None]) -> None:
        """Give what a waiter got after it had given up to the next one."""
        if not waiter.done() or waiter.cancelled() or waiter.exception():
            return
        if (lease := waiter.result()) is None:
            self.wake_one()
        else:
            self.stats.in_use += 1
            self.release(lease, usable=True)

    def _hand_over(self, lease: Lease | None) -> bool:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(lease)
                return True
        return False

    def _discard(self, lease: Lease, *, wake: bool = True) -> None:
        self.size -= 1
        lease.connection.terminate()
        if wake:
            self.budget.give_back()
            self.wake_one()
        else:
            self.budget.taken -= 1

    def _tell_drained(self) -> None:
        if self._drained is not None and not self.stats.in_use:
            self._drained.set()


def _expire(waiter: asyncio.Future[Lease | None]) -> None:
    if not waiter.done():
        waiter.set_exception(TimeoutError())
