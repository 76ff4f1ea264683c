"""A key is asked for, rotated or destroyed just while another process rotates it."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from tests.integration.capabilities.vault.safe import Safe, place

from bulkhead.capabilities.vault import Vault
from bulkhead.capabilities.vault.rotation import finish_rotation, rotate_master
from bulkhead.capabilities.vault.vault import Q
from bulkhead.engine.connections.claims import SERVICE

DEADLINE_S = 4.0
"""The server gives up waiting for a lock after five seconds."""

ANOTHER = """
  insert into bulkhead.vault_keys (tenant, master, wrapped, commitment, state)
  select tenant, master, wrapped, commitment, 'current' from bulkhead.vault_keys where id = $1
"""

Work = Callable[[Vault], Awaitable[object]]


async def until_it_waits(safe: Safe, task: "asyncio.Task[object]") -> None:
    """Ask until the task waits for a lock of the test's transaction."""
    async with asyncio.timeout(DEADLINE_S):
        while not await safe.sql("select from pg_locks where not granted"):
            assert not task.done()


def begin(work: Work, vault: Vault) -> "asyncio.Task[object]":
    async def run() -> object:
        return await work(vault)

    return asyncio.create_task(run())


async def seal(vault: Vault) -> bytes:
    return await vault.seal(b"x", place("row", "north"))


@pytest.mark.parametrize("work", [seal, finish_rotation, rotate_master])
async def test_who_waits_for_a_rotation_of_the_master_key_goes_on_with_the_new_one(
    safe: Safe, work: Work
) -> None:
    async with safe.system.database("master").transaction(SERVICE) as tx:
        await tx.fetchrow(Q.lock_current_master)
        task = begin(work, safe.again())
        await until_it_waits(safe, task)
        newest = safe.vault.masters.rotate()
        await tx.execute(Q.demote_master)
        await tx.execute(Q.add_master, newest.id, newest.check)
    await task


async def rotate(vault: Vault) -> int:
    return await vault.rotate_key("north")


async def shred(vault: Vault) -> int:
    return await vault.shred("north")


@pytest.mark.parametrize(("work", "left"), [(rotate, 1), (shred, 0)])
async def test_who_waits_for_a_rotation_of_a_key_acts_on_the_new_one(
    safe: Safe, work: Work, left: int
) -> None:
    await safe.put("north", "hunter2")
    async with safe.system.database("master").transaction(SERVICE) as tx:
        former = await tx.fetchval(Q.demote_key, "north")
        task = begin(work, safe.again())
        await until_it_waits(safe, task)
        await tx.execute(ANOTHER, former)
    await task
    keys = await safe.sql("select state from bulkhead.vault_keys where state <> 'destroyed'")
    assert [row["state"] for row in keys].count("current") == left
    assert (not keys) == (left == 0)
