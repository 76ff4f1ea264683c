"""A database is asked for again just while the job for it ends."""

from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest
from tests.integration.engine.provisioning.workshop import Workshop

from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.connections.transaction import Transaction
from bulkhead.engine.provisioning.job import JobState, ProvisioningJob


class Overtaken:
    """A transaction, before whose statement number `at` something else happens."""

    def __init__(self, tx: Transaction, at: int, happen: Callable[[], Awaitable[object]]) -> None:
        self._tx, self._at, self._happen = tx, at, happen
        self.statements = 0

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        async def run(sql: str, *args: object) -> object:
            if self.statements == self._at:
                await self._happen()
            self.statements += 1
            return await getattr(self._tx, name)(sql, *args)

        return run


async def ask_again(
    workshop: Workshop, at: int, happen: Callable[[ProvisioningJob], Awaitable[object]]
) -> tuple[ProvisioningJob, ProvisioningJob]:
    """The job that was first, and what is told when it ends before a statement of the second."""
    request = workshop.request()
    first = await workshop.provisioning.start(request)
    async with workshop.registry.transaction(SERVICE) as tx:
        overtaken = Overtaken(tx, at, lambda: happen(first))
        told = await workshop.provisioning.start(request, cast("Transaction", overtaken))
    assert overtaken.statements > at
    return first, told


@pytest.mark.parametrize("at", [0, 1])
async def test_a_job_that_has_just_made_the_database_is_the_answer(
    postgresql: Workshop, at: int
) -> None:
    first, told = await ask_again(postgresql, at, postgresql.finish)
    assert (told.id, told.state) == (first.id, JobState.ACTIVE)
    assert await postgresql.provisioning.run_once() == 0
    await postgresql.verify_served(told)


@pytest.mark.parametrize("at", [0, 1])
async def test_after_one_that_was_just_taken_back_there_is_a_new_job(
    postgresql: Workshop, at: int
) -> None:
    async def take_back(job: ProvisioningJob) -> None:
        await postgresql.provisioning.cancel(job.id)
        assert (await postgresql.finish(job)).state is JobState.CANCELLED

    first, told = await ask_again(postgresql, at, take_back)
    assert told.id != first.id
    await postgresql.verify_served(await postgresql.finish(told))


async def test_the_job_that_is_told_does_not_end_before_the_transaction(
    postgresql: Workshop,
) -> None:
    """Whoever notes something about a job that is under way notes it before the job's end does."""
    request = postgresql.request()
    job = await postgresql.provisioning.start(request)
    change = "select id from bulkhead.provisioning_jobs where id = $1 for update skip locked"
    async with postgresql.registry.transaction(SERVICE) as worker:
        assert await worker.fetchval(change, job.id) == job.id
    async with (
        postgresql.registry.transaction(SERVICE) as tx,
        postgresql.registry.transaction(SERVICE) as worker,
    ):
        assert (await postgresql.provisioning.start(request, tx)).id == job.id
        assert await worker.fetchval(change, job.id) is None
    await postgresql.verify_served(await postgresql.finish(job))


async def test_a_job_that_was_cancelled_may_be_cancelled_again(postgresql: Workshop) -> None:
    job = await postgresql.provisioning.start(postgresql.request())
    for _ in range(2):
        assert (await postgresql.provisioning.cancel(job.id)).cancelling
    await postgresql.verify_clean(await postgresql.finish(job), JobState.CANCELLED)
    assert (await postgresql.provisioning.cancel(job.id)).state is JobState.CANCELLED
