import asyncio

import pytest

from bulkhead.engine.connections.breaker import Breaker, DatabaseUnavailable
from bulkhead.engine.connections.pool import Budget, Pool, PoolClosed, PoolExhausted
from bulkhead.engine.drivers.errors import ServerUnreachable
from bulkhead.engine.errors import BulkheadError


class Socket:
    """Stands for a driver's connection: the pool only ever closes it."""

    def __init__(self) -> None:
        self.closed = False

    def is_closed(self) -> bool:
        return self.closed

    def terminate(self) -> None:
        self.closed = True


def make_pool(budget: Budget, *, size_max: int = 2, timeout_s: float = 0.02) -> Pool:
    async def connect() -> Socket:
        await asyncio.sleep(0)
        return Socket()

    return Pool("shop.orders", connect, budget, Breaker("shop.orders"), size_max, timeout_s)


async def test_acquire_opens_no_connection_before_it_is_needed() -> None:
    pool = make_pool(Budget(5))
    assert pool.size == 0
    lease = await pool.acquire()
    pool.release(lease, usable=True)
    assert (await pool.acquire()).connection is lease.connection
    assert pool.size == 1


async def test_acquire_gives_up_when_no_connection_comes_free() -> None:
    pool = make_pool(Budget(5), size_max=1)
    await pool.acquire()
    with pytest.raises(PoolExhausted):
        await pool.acquire()
    assert pool.stats.timeouts == 1
    assert pool.stats.waiting == 0


async def test_release_serves_those_who_wait_in_order() -> None:
    pool = make_pool(Budget(5), size_max=1, timeout_s=5)
    lease = await pool.acquire()
    served: list[int] = []

    async def use(number: int) -> None:
        mine = await pool.acquire()
        served.append(number)
        pool.release(mine, usable=True)

    async with asyncio.TaskGroup() as group:
        for number in range(5):
            group.create_task(use(number))
        await asyncio.sleep(0)
        pool.release(lease, usable=True)
    assert served == [0, 1, 2, 3, 4]


async def test_an_unusable_connection_is_closed_and_its_place_is_given_to_a_waiter() -> None:
    budget = Budget(1)
    pool = make_pool(budget, timeout_s=5)
    lease = await pool.acquire()
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(pool.acquire())
        await asyncio.sleep(0)
        pool.release(lease, usable=False)
    assert lease.connection.is_closed()
    assert not waiting.result().connection.is_closed()
    assert budget.taken == 1


async def test_a_pool_takes_the_place_of_another_pools_idle_connection() -> None:
    budget = Budget(1)
    orders, products = make_pool(budget), make_pool(budget)
    lease = await orders.acquire()
    orders.release(lease, usable=True)
    other = await products.acquire()
    assert lease.connection.is_closed()
    assert not other.connection.is_closed()
    assert budget.taken == 1


async def test_a_starving_pool_gets_the_next_connection_that_another_gives_back() -> None:
    budget = Budget(1)
    orders, products = make_pool(budget, timeout_s=5), make_pool(budget, timeout_s=5)
    lease = await orders.acquire()
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(products.acquire())
        await asyncio.sleep(0)
        orders.release(lease, usable=True)
    assert not waiting.result().connection.is_closed()
    assert budget.taken == 1


async def test_a_cancelled_waiter_passes_its_connection_on() -> None:
    pool = make_pool(Budget(5), size_max=1, timeout_s=5)
    lease = await pool.acquire()
    first = asyncio.create_task(pool.acquire())
    second = asyncio.create_task(pool.acquire())
    await asyncio.sleep(0)
    pool.release(lease, usable=True)
    first.cancel()
    assert (await second).connection is lease.connection
    pool.release(await second, usable=True)
    assert pool.stats.in_use == 0


async def test_close_waits_for_the_last_lease_and_refuses_new_ones() -> None:
    pool = make_pool(Budget(5))
    lease = await pool.acquire()
    closing = asyncio.create_task(pool.close(drain_s=5))
    await asyncio.sleep(0)
    assert not closing.done()
    pool.release(lease, usable=True)
    await closing
    assert lease.connection.is_closed()
    with pytest.raises(PoolClosed):
        await pool.acquire()


async def test_a_server_that_refuses_opens_the_breaker_and_frees_its_places() -> None:
    budget = Budget(5)

    async def refuse() -> Socket:
        raise ServerUnreachable(server="db1", reason="connection refused")

    pool = Pool("shop.orders", refuse, budget, Breaker("shop.orders"), 2, 0.02)
    for _ in range(3):
        with pytest.raises(ServerUnreachable):
            await pool.acquire()
    with pytest.raises(DatabaseUnavailable):
        await pool.acquire()
    assert budget.taken == 0
    assert pool.size == 0


async def test_many_users_of_a_small_pool_all_come_to_their_turn() -> None:
    budget = Budget(3)
    pools = [make_pool(budget, timeout_s=5) for _ in range(4)]
    used = 0

    async def use(pool: Pool) -> None:
        nonlocal used
        for _ in range(20):
            lease = await pool.acquire()
            await asyncio.sleep(0)
            used += 1
            pool.release(lease, usable=True)

    async with asyncio.TaskGroup() as group:
        for pool in pools:
            for _ in range(5):
                group.create_task(use(pool))
    assert used == 400
    assert budget.taken <= 3
    assert all(pool.stats.in_use == 0 for pool in pools)


async def test_a_server_that_accepts_and_never_answers_opens_the_breaker() -> None:
    budget = Budget(5)

    async def hang() -> Socket:
        await asyncio.Event().wait()
        return Socket()

    pool = Pool("shop.orders", hang, budget, Breaker("shop.orders"), 3, 0.02)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(code_of(pool)) for _ in range(6)]
    assert {task.result() for task in tasks} == {"pool_exhausted"}
    assert await code_of(pool) == "database_unavailable"
    assert (budget.taken, pool.size, pool.stats.waiting) == (0, 0, 0)


async def code_of(pool: Pool) -> str:
    try:
        await pool.acquire()
    except BulkheadError as error:
        return error.code
    return "acquired"
