import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkhead.engine.connections.breaker import DatabaseUnavailable
from bulkhead.engine.connections.pool import PoolExhausted
from bulkhead.engine.drivers.errors import (
    LoginRefused,
    ServerUnreachable,
    StatementTimeout,
    TooManyConnections,
)
from bulkhead.engine.drivers.identity import IdentityMismatch
from bulkhead.engine.drivers.protocol import Dialect
from bulkhead.engine.errors import BulkheadError, Invalid
from bulkhead.engine.fleet.budget import Lease, ServerBudget
from bulkhead.engine.fleet.limits import PoolLimits
from bulkhead.engine.fleet.model import TenantId
from bulkhead.engine.fleet.pools import TenantPool
from bulkhead.engine.fleet.refusal import PoolRetired


@dataclass(eq=False)
class Wire:
    """Stands for a driver's connection: it knows whose database it leads to."""

    tenant: UUID
    open: set["Wire"]
    closed: bool = False
    dialect: Dialect = Dialect.POSTGRESQL

    async def verify_identity(self, tenant: UUID, *, timeout_s: float) -> None:
        assert timeout_s > 0
        await asyncio.sleep(0)
        if tenant != self.tenant:
            raise IdentityMismatch(tenant=tenant, reason="it is another's")

    async def limit_statements(self, limit_s: float, *, timeout_s: float) -> None:
        raise NotImplementedError

    def is_closed(self) -> bool:
        return self.closed

    def terminate(self) -> None:
        self.closed = True
        self.open.discard(self)

    async def fetch(
        self, sql: str, args: Sequence[object], *, timeout_s: float
    ) -> Sequence[Mapping[str, Any]]:
        raise NotImplementedError

    async def execute(self, sql: str, args: Sequence[object], *, timeout_s: float) -> int:
        raise NotImplementedError

    async def execute_many(
        self, sql: str, rows: Sequence[Sequence[object]], *, timeout_s: float
    ) -> None:
        raise NotImplementedError

    async def begin(self, *, read_only: bool, timeout_s: float) -> None:
        raise NotImplementedError

    async def commit(self, *, timeout_s: float) -> None:
        raise NotImplementedError

    async def rollback(self, *, timeout_s: float) -> None:
        raise NotImplementedError


@dataclass(eq=False)
class Place:
    """Stands for a tenant's database on a server that carries `limit` connections."""

    tenant: TenantId
    open: set[Wire]
    limit: int
    refusal: BulkheadError | None = None
    silent: bool = False
    crowded: int = 0
    """How often it still says that it has too many connections."""
    server: str = "east"
    dialect: Dialect = Dialect.POSTGRESQL
    attempts: int = 0

    async def connect(self, *, timeout_s: float) -> Wire:
        assert timeout_s > 0
        self.attempts += 1
        await asyncio.sleep(0)
        if self.silent:
            await asyncio.Event().wait()
        if self.refusal is not None:
            raise self.refusal
        if self.crowded:
            self.crowded -= 1
            raise TooManyConnections
        wire = Wire(self.tenant, self.open)
        self.open.add(wire)
        assert len(self.open) <= self.limit, "the server would have refused it"
        return wire


@dataclass
class Server:
    """Pools of tenants that share a server's budget."""

    limit: int
    limits: PoolLimits = field(default_factory=lambda: PoolLimits(acquire_timeout_s=0.05))
    open: set[Wire] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.budget = ServerBudget("east", self.limit)

    def pool(self, number: int) -> TenantPool:
        tenant = TenantId(UUID(int=number))
        place = Place(tenant, self.open, self.limit)
        return TenantPool(tenant, place, self.budget, self.limits)


def place_of(pool: TenantPool) -> Place:
    assert isinstance(pool.database, Place)
    return pool.database


async def use(pool: TenantPool, *, usable: bool = True) -> None:
    lease = await pool.acquire()
    assert isinstance(lease.connection, Wire)
    assert lease.connection.tenant == pool.tenant
    pool.release(lease, usable=usable)


async def test_an_idle_connection_is_lent_again_at_once() -> None:
    pool = Server(3).pool(1)
    await use(pool)
    lease = pool.acquire_now(0.0)
    assert lease is not None
    assert pool.acquire_now(0.0) is None
    assert (pool.size, pool.in_use) == (1, 1)
    pool.release(lease, usable=True)
    assert place_of(pool).attempts == 1


async def test_the_connection_that_was_idle_longest_makes_room() -> None:
    server = Server(2)
    first, second, third = (server.pool(number) for number in range(3))
    await use(first)
    await use(second)
    await use(first)
    await use(third)
    assert (first.size, second.size, third.size) == (1, 0, 1)


async def test_a_first_connection_comes_before_anybodys_second() -> None:
    server = Server(4)
    loud, quiet = server.pool(1), server.pool(2)
    held = [await loud.acquire(), await loud.acquire()]
    with pytest.raises(PoolExhausted):
        await loud.acquire()  # Half of the server is in use.
    held.append(await quiet.acquire())
    assert (loud.size, quiet.size) == (2, 1)


async def test_a_tenant_whose_statements_are_slow_gets_no_more_of_a_busy_server() -> None:
    server = Server(8)
    slow, other = server.pool(1), server.pool(2)
    lease = await slow.acquire()
    held = await other.acquire()
    lease.leased_at_s -= 10
    assert slow.is_slow
    with pytest.raises(PoolExhausted):
        await slow.acquire()
    other.release(held, usable=True)
    await use(slow)


async def test_who_waits_is_served_when_a_connection_of_another_tenant_comes_back() -> None:
    server = Server(1, PoolLimits(acquire_timeout_s=5))
    first, second = server.pool(1), server.pool(2)
    lease = await first.acquire()
    waiting = asyncio.create_task(use(second))
    await asyncio.sleep(0)
    first.release(lease, usable=True)
    await waiting
    assert (first.size, second.size) == (0, 1)


async def test_a_flood_of_one_tenant_does_not_starve_another() -> None:
    server = Server(1, PoolLimits(acquire_timeout_s=5))
    loud, quiet = server.pool(1), server.pool(2)
    lease = await loud.acquire()
    flood = [asyncio.create_task(use(loud)) for _ in range(20)]
    await asyncio.sleep(0)
    one = asyncio.create_task(use(quiet))
    await asyncio.sleep(0)
    later = [asyncio.create_task(use(loud)) for _ in range(20)]
    await asyncio.sleep(0)
    loud.release(lease, usable=True)
    await one
    assert not all(task.done() for task in later)
    await asyncio.wait([*flood, *later])
    assert all(task.exception() is None for task in (*flood, *later))


async def test_a_server_that_is_away_is_left_alone_whoever_asks() -> None:
    server = Server(3)
    pools = [server.pool(number) for number in range(20)]
    for pool in pools:
        place_of(pool).refusal = ServerUnreachable(server="east", reason="refused")
        with pytest.raises((ServerUnreachable, DatabaseUnavailable)):
            await pool.acquire()
    assert sum(place_of(pool).attempts for pool in pools) == 3
    assert server.budget.taken == 0


async def test_a_server_that_is_crowded_for_a_moment_is_asked_again() -> None:
    pool = Server(3).pool(1)
    place_of(pool).crowded = 2
    await use(pool)
    assert (place_of(pool).attempts, pool.breaker.failures) == (3, 0)


async def run_out_of_time(pool: TenantPool, *, usable: bool) -> None:
    lease = await pool.acquire()
    pool.failed(StatementTimeout())
    pool.release(lease, usable=usable)


@pytest.mark.parametrize("usable", [True, False])
async def test_tenants_that_have_hung_share_an_eighth_until_they_answer(*, usable: bool) -> None:
    server = Server(8)
    stuck = [server.pool(number) for number in range(4)]
    for pool in stuck:
        await run_out_of_time(pool, usable=usable)
    assert server.budget.taken == (1 if usable else 0)
    one, other, *_ = stuck
    lease = await one.acquire()
    with pytest.raises(PoolExhausted):
        await other.acquire()
    for number in range(10, 16):
        await use(server.pool(number))
    one.succeeded()
    await use(other)
    one.release(lease, usable=True)
    assert server.budget.taken == server.limit


async def test_a_breaker_opens_for_who_can_be_connected_to_but_never_answers() -> None:
    pool = Server(8).pool(1)
    for _ in range(3):
        await run_out_of_time(pool, usable=False)
    with pytest.raises(DatabaseUnavailable):
        await pool.acquire()


@pytest.mark.parametrize(
    "refusal",
    [
        LoginRefused(server="east", role="shop", database="shop"),
        Invalid(reason="the host is private"),
    ],
)
async def test_a_refusal_is_told_as_what_it_is_while_the_breaker_is_open(
    refusal: BulkheadError,
) -> None:
    pool = Server(3).pool(1)
    place_of(pool).refusal = refusal
    for _ in range(10):
        with pytest.raises(type(refusal), match=re.escape(refusal.message)):
            await pool.acquire()
    assert place_of(pool).attempts == 3


async def test_those_who_wait_for_a_dead_database_are_told_at_once() -> None:
    limits = PoolLimits(size_max=1, acquire_timeout_s=60, connect_timeout_s=0.01)
    pool = Server(3, limits).pool(1)
    place_of(pool).silent = True
    tasks = [asyncio.create_task(pool.acquire()) for _ in range(20)]
    async with asyncio.timeout(5):
        await asyncio.wait(tasks)
    kinds = {type(task.exception()) for task in tasks}
    assert kinds == {ServerUnreachable, DatabaseUnavailable}
    assert (pool.size, pool.stats.waiting, pool.budget.taken) == (0, 0, 0)


async def test_a_retired_pool_closes_what_comes_back_and_refuses_the_rest() -> None:
    server = Server(3, PoolLimits(size_max=1, acquire_timeout_s=5))
    pool = server.pool(1)
    lease = await pool.acquire()
    waiting = asyncio.create_task(pool.acquire())
    await asyncio.sleep(0)
    draining = asyncio.create_task(pool.drain(5))
    with pytest.raises(PoolRetired):
        await waiting
    with pytest.raises(PoolRetired):
        await pool.acquire()
    assert not lease.connection.is_closed()
    pool.release(lease, usable=True)
    assert await draining
    assert (server.budget.taken, server.budget.pools, server.open) == (0, 0, set())


async def test_what_has_been_idle_for_long_is_closed() -> None:
    server = Server(3)
    pool = server.pool(1)
    await use(pool)
    server.budget.reap(0.0)
    assert pool.size == 1
    server.budget.reap(float("inf"))
    assert (pool.size, server.budget.taken, server.open) == (0, 0, set())


@dataclass(frozen=True)
class Step:
    """A caller of a tenant; who comes before the others are done competes with them."""

    number: int
    turns: int
    """Of the loop, while it has the connection."""
    usable: bool
    gives_up: bool


STEPS = st.lists(
    st.builds(Step, st.integers(0, 4), st.integers(0, 3), st.booleans(), st.booleans()),
    max_size=40,
)


class Bank:
    """Five tenants whose callers check at each turn that nothing is out of balance."""

    def __init__(self, limit: int, limits: PoolLimits) -> None:
        self.server = Server(limit, limits)
        self.pools = [self.server.pool(number) for number in range(5)]
        self.out: set[int] = set()

    async def borrow(self, step: Step) -> None:
        pool = self.pools[step.number]
        lease: Lease = await pool.acquire()
        assert isinstance(lease.connection, Wire)
        assert lease.connection.tenant == pool.tenant
        assert id(lease) not in self.out, "nobody else has it"
        self.out.add(id(lease))
        try:
            for _ in range(step.turns):
                self.check()
                await asyncio.sleep(0)
        finally:
            self.out.remove(id(lease))
            pool.release(lease, usable=step.usable)

    def check(self) -> None:
        budget, pools = self.server.budget, self.pools
        assert budget.taken == sum(pool.size for pool in pools) <= budget.limit
        assert budget.idle == sum(len(pool._idle) for pool in pools)
        assert all(pool.size <= pool.limits.size_max for pool in pools)
        assert len(self.server.open) <= budget.taken

    async def run(self, steps: list[Step]) -> list[asyncio.Task[None]]:
        tasks = []
        for step in steps:
            tasks.append(asyncio.create_task(self.borrow(step)))
            await asyncio.sleep(0)
            if step.gives_up:
                await asyncio.sleep(0)
                tasks[-1].cancel()
        if tasks:
            async with asyncio.timeout(10):
                await asyncio.wait(tasks)
        return tasks

    async def close(self) -> None:
        self.check()
        assert [pool.in_use + pool.stats.waiting for pool in self.pools] == [0] * 5
        assert not self.server.budget.has_queue
        for pool in self.pools:
            assert await pool.drain(1)
        assert (self.server.budget.taken, self.server.open) == (0, set())


@given(STEPS, st.integers(1, 4), st.integers(1, 3), st.sampled_from([0.0, 60.0]))
def test_whatever_happens_tenants_never_meet_and_nothing_is_lost(
    steps: list[Step], limit: int, size_max: int, identity_every_s: float
) -> None:
    async def run() -> None:
        limits = PoolLimits(size_max, acquire_timeout_s=30, identity_every_s=identity_every_s)
        bank = Bank(limit, limits)
        for task in await bank.run(steps):
            assert task.cancelled() or task.exception() is None
        await bank.close()

    with asyncio.Runner() as runner:
        runner.run(run())
