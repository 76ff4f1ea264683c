"""How the connections that one server may carry are shared among the tenants that live there.

A tenant's first connection comes before anybody's second one, and second ones are given out only
while much is free, so that tenants that hang cannot take a server from the others. When everything
is taken, the connection that has been idle longest, whosoever it is, makes room. All of it takes
the same time however many tenants there are.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Protocol

from bulkhead.engine.clock import monotonic_s
from bulkhead.engine.connections.breaker import Breaker
from bulkhead.engine.drivers.protocol import ServerConnection

SHARE_OF_EXTRAS = 2
"""Up to one half of the connections in use, a tenant may open a second one."""
SHARE_OF_SLOW = 4
"""Up to one quarter, where its statements have been running for `SLOW_S`."""
SLOW_S = 0.25
EXTRA_IDLE_S = 1.0
"""A second connection takes the place of one that has been idle for so long."""


class Claimant(Protocol):
    """A pool, as far as the budget knows it."""

    @property
    def size(self) -> int:
        """Connections that are open or being opened."""

    @property
    def is_slow(self) -> bool:
        """Whether a statement has been running for a while."""

    def grant(self) -> bool:
        """Give the first one who waits a place for a connection; False when nobody does."""

    def discard_idle(self, lease: Lease) -> None:
        """Close an idle connection whose place goes to somebody else."""


@dataclass(slots=True, eq=False)
class Lease:
    """A connection of a pool; give it back with `TenantPool.release`."""

    pool: Claimant
    connection: ServerConnection
    opened_at_s: float
    verified_at_s: float
    """When it was last seen to be the tenant's own database."""
    leased_at_s: float = 0.0
    idle_since_s: float = 0.0


class ServerBudget:
    """The places for connections to one server, in this process."""

    def __init__(self, server: str, limit: int) -> None:
        """Start with nothing taken of `limit`."""
        self.server = server
        self.limit = limit
        self.taken = 0
        """Connections that are open or being opened."""
        self.pools = 0
        self._idle: OrderedDict[int, Lease] = OrderedDict()
        self.breaker = Breaker(server)
        """Opens when connections cannot be opened, whosoever they are."""
        self._first: OrderedDict[Claimant, float] = OrderedDict()
        self._extra: OrderedDict[Claimant, None] = OrderedDict()

    @property
    def idle(self) -> int:
        """How many connections nobody uses at the moment."""
        return len(self._idle)

    @property
    def busy(self) -> int:
        """How many are in use or being opened."""
        return self.taken - len(self._idle)

    @property
    def has_queue(self) -> bool:
        """Whether any tenant waits for a place."""
        return bool(self._first or self._extra)

    @property
    def is_contended(self) -> bool:
        """Whether a tenant waits that has no connection at all."""
        return bool(self._first)

    def take(self) -> bool:
        """Take a place for a pool's first connection; False when it has to queue up."""
        if self._first or (self.taken >= self.limit and not self._evict()):
            return False
        self.taken += 1
        return True

    def queue(self, pool: Claimant) -> None:
        """Let a pool in which somebody waits have a place when it is its turn."""
        if pool.size == 0:
            self._extra.pop(pool, None)
            self._first.setdefault(pool, monotonic_s())
        else:
            self._extra.setdefault(pool)
        self.serve()

    def waited_s(self, now_s: float) -> float:
        """For how long the tenant has waited whose turn is next."""
        return now_s - next(iter(self._first.values()))

    def leave(self, pool: Claimant) -> None:
        """Nobody waits in `pool` any more."""
        self._first.pop(pool, None)
        self._extra.pop(pool, None)

    def put(self, lease: Lease, now_s: float) -> None:
        """Note that a connection is idle; its place may serve who waits."""
        lease.idle_since_s = now_s
        self._idle[id(lease)] = lease
        if self.has_queue:
            self.serve()

    def pick(self, lease: Lease) -> None:
        """Note that it is idle no more."""
        del self._idle[id(lease)]

    def give_back(self) -> None:
        """Free one place, for those who wait."""
        self.taken -= 1
        self.serve()

    def serve(self) -> None:
        """Let those who wait have what is free."""
        while self._first and (self.taken < self.limit or self._evict()):
            pool, _ = self._first.popitem(last=False)
            self._grant(pool)
        for pool in list(self._extra):
            if self.busy * SHARE_OF_EXTRAS >= self.limit:
                return
            if self._allows(pool) and (self.taken < self.limit or self._evict(EXTRA_IDLE_S)):
                del self._extra[pool]
                self._grant(pool)

    def reap(self, before_s: float) -> None:
        """Close the connections that have been idle since before `before_s`."""
        while self._idle:
            lease = next(iter(self._idle.values()))
            if lease.idle_since_s >= before_s:
                return
            lease.pool.discard_idle(lease)
            self.taken -= 1
        self.serve()

    def _grant(self, pool: Claimant) -> None:
        self.taken += 1
        if not pool.grant():
            self.taken -= 1

    def _allows(self, pool: Claimant) -> bool:
        """Whether `pool` may have one more beside what it has."""
        share = SHARE_OF_SLOW if pool.is_slow else SHARE_OF_EXTRAS
        return self.busy * share < self.limit

    def _evict(self, idle_s: float = 0.0) -> bool:
        """Close the connection that has been idle longest, and for `idle_s`; frees its place."""
        if not self._idle:
            return False
        lease = next(iter(self._idle.values()))
        if idle_s and monotonic_s() - lease.idle_since_s < idle_s:
            return False
        lease.pool.discard_idle(lease)
        self.taken -= 1
        return True
