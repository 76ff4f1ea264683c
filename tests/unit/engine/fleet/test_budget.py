"""Who gets the places of a server, when several wait for more than one."""

import asyncio

from tests.unit.engine.fleet.test_pools import Server

from bulkhead.engine.clock import monotonic_s
from bulkhead.engine.fleet.budget import SLOW_S
from bulkhead.engine.fleet.limits import PoolLimits


async def test_who_was_served_while_another_was_is_not_served_again() -> None:
    """Whoever gets a second connection and wants a third lets the others have theirs first."""
    server = Server(16, PoolLimits(acquire_timeout_s=5.0))
    pools = [server.pool(number) for number in range(4)]
    leases = [await pool.acquire() for pool in pools]
    for lease in leases:
        lease.leased_at_s -= 2 * SLOW_S
    greedy, modest, *_ = pools
    waiting = [asyncio.create_task(pool.acquire()) for pool in (greedy, greedy, modest)]
    await asyncio.sleep(0)
    for pool in (greedy, modest):
        server.budget.queue(pool)
    assert server.budget.taken == 4, "what is slow has no more than a quarter"
    for lease in leases:
        lease.leased_at_s = monotonic_s()
    server.budget.serve()
    leases += [await task for task in waiting]
    assert ([pool.size for pool in pools], server.budget.taken) == ([3, 2, 1, 1], 7)
    for pool, lease in zip([*pools, greedy, greedy, modest], leases, strict=True):
        pool.release(lease, usable=True)
    assert server.budget.busy == 0
    for pool in pools:
        pool.retire()
    assert server.budget.taken == 0
