"""How the connections that one server may carry are shared among the tenants that live there.

A tenant's first connection comes before anybody's second one, and second ones are given out only
while much is free, so that tenants that hang cannot take a server from the others. Those that have
hung share a few places until they answer again. When everything is taken, the connection that has
been idle longest, whosoever it is, makes room. All of it takes the same time however many tenants
there are.
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
SHARE_OF_SUSPECTS = 8
"""Up to one eighth is given to tenants whose last statement has run out of time."""
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

    @property
    def is_suspect(self) -> bool:
        """Whether its last statement has run out of time."""

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
        self._idle: OrderedDict[Lease, None] = OrderedDict()
        self.breaker = Breaker(server)
        """Opens when connections cannot be opened, whosoever they are."""
        self._first: OrderedDict[Claimant, float] = OrderedDict()
        self._extra: OrderedDict[Claimant, None] = OrderedDict()
        self._suspects: OrderedDict[Claimant, float] = OrderedDict()
        """Those that wait for their first connection."""
        self._tried: set[Claimant] = set()
        """Suspects that have a place."""

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
        """Whether any tenant waits for a place that it may have."""
        return bool(self._first or self._extra or (self._suspects and self._tries_suspects))

    @property
    def _tries_suspects(self) -> bool:
        return len(self._tried) * SHARE_OF_SUSPECTS < self.limit

    def take(self, pool: Claimant) -> bool:
        """Take a place for a pool's first connection; False when it has to queue up."""
        if pool.is_suspect and (self._suspects or not self._tries_suspects):
            return False
        if self._first or (self.taken >= self.limit and not self._evict()):
            return False
        self.taken += 1
        if pool.is_suspect:
            self._tried.add(pool)
        return True

    def queue(self, pool: Claimant) -> None:
        """Let a pool in which somebody waits have a place when it is its turn."""
        if pool.size == 0:
            self._extra.pop(pool, None)
            line = self._suspects if pool.is_suspect else self._first
            line.setdefault(pool, monotonic_s())
        elif not pool.is_suspect:
            self._extra.setdefault(pool)
        self.serve()

    def suspect(self, pool: Claimant) -> None:
        """A statement of the tenant has run out of time; `pool` says so from now on."""
        self._extra.pop(pool, None)
        if pool.size:
            self._tried.add(pool)

    def trust(self, pool: Claimant) -> None:
        """The tenant's database has answered again; `pool` is no suspect any more."""
        self._tried.discard(pool)
        if (since_s := self._suspects.pop(pool, None)) is not None:
            self._first[pool] = since_s
        self.serve()

    def wants_place(self, pool: Claimant, since_s: float | None) -> bool:
        """Whether the place of a connection that comes back should be somebody else's.

        A tenant that has no connection at all should have it. One that others of `pool` have been
        waiting for, since `since_s`, goes over only when it is not the last one, or when it has
        served for a while: opening a connection costs as much as many statements. Suspects give up
        what they have beyond their share.
        """
        if pool.is_suspect and (len(self._tried) - 1) * SHARE_OF_SUSPECTS >= self.limit:
            return True
        if not self._first:
            return False
        return since_s is None or pool.size > 1 or since_s > next(iter(self._first.values()))

    def leave(self, pool: Claimant) -> None:
        """Nobody waits in `pool` any more."""
        self._first.pop(pool, None)
        self._extra.pop(pool, None)
        self._suspects.pop(pool, None)

    def put(self, lease: Lease, now_s: float) -> None:
        """Note that a connection is idle; its place may serve who waits."""
        lease.idle_since_s = now_s
        self._idle[lease] = None
        if self._first or self._extra or self._suspects:
            self.serve()

    def pick(self, lease: Lease) -> None:
        """Note that it is idle no more."""
        del self._idle[lease]

    def give_back(self, pool: Claimant) -> None:
        """Free one place of `pool`'s, for those who wait."""
        self._free(pool)
        self.serve()

    def serve(self) -> None:
        """Let those who wait have what is free."""
        while self._first and (self.taken < self.limit or self._evict()):
            pool, _ = self._first.popitem(last=False)
            self._grant(pool)
        while (
            self._suspects and self._tries_suspects and (self.taken < self.limit or self._evict())
        ):
            pool, _ = self._suspects.popitem(last=False)
            self._tried.add(pool)
            self._grant(pool)
        for pool in list(self._extra):
            if self.busy * SHARE_OF_EXTRAS >= self.limit:
                return
            if pool not in self._extra:
                continue  # One that got a place and wants another has let it have its own.
            if self._allows(pool) and (self.taken < self.limit or self._evict(EXTRA_IDLE_S)):
                del self._extra[pool]
                self._grant(pool)

    def reap(self, before_s: float) -> None:
        """Close the connections that have been idle since before `before_s`."""
        while self._idle:
            lease = next(iter(self._idle))
            if lease.idle_since_s >= before_s:
                return
            lease.pool.discard_idle(lease)
            self._free(lease.pool)
        self.serve()

    def _grant(self, pool: Claimant) -> None:
        self.taken += 1
        if not pool.grant():
            self._free(pool)

    def _free(self, pool: Claimant) -> None:
        self.taken -= 1
        if not pool.size:
            self._tried.discard(pool)

    def _allows(self, pool: Claimant) -> bool:
        """Whether `pool` may have one more beside what it has."""
        share = SHARE_OF_SLOW if pool.is_slow else SHARE_OF_EXTRAS
        return self.busy * share < self.limit

    def _evict(self, idle_s: float = 0.0) -> bool:
        """Close the connection that has been idle longest, and for `idle_s`; frees its place."""
        if not self._idle:
            return False
        lease = next(iter(self._idle))
        if idle_s and monotonic_s() - lease.idle_since_s < idle_s:
            return False
        lease.pool.discard_idle(lease)
        self._free(lease.pool)
        return True
