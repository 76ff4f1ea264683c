"""A worker that is stopped leaves its jobs to the next one, which does not wait for a lease."""

import asyncio

import pytest
from tests.integration.engine.fleet.stalled import stalled
from tests.integration.engine.provisioning.workshop import Workshop

from bulkhead.engine.provisioning.job import ProvisioningJob
from bulkhead.engine.provisioning.service import Provisioning


async def verify_left(workshop: Workshop, job: ProvisioningJob) -> None:
    assert await workshop.again().run_once() == 1
    served = await workshop.provisioning.get(job.id)
    await workshop.verify_served(served)
    assert served.attempts == 1, "that a worker was stopped is no failure"


async def test_a_job_that_is_just_claimed_is_left_to_the_next_worker(
    postgresql: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = await postgresql.provisioning.start(postgresql.request())
    take_over = Provisioning._take_over

    async def take_over_and_be_stopped(self: Provisioning, limit: int) -> list[ProvisioningJob]:
        jobs = await take_over(self, limit)
        working.cancel()
        await asyncio.sleep(0)  # As its commit would, which is there already.
        return jobs

    with monkeypatch.context() as patch:
        patch.setattr(Provisioning, "_take_over", take_over_and_be_stopped)
        working = asyncio.create_task(postgresql.provisioning.run())
        await asyncio.wait([working])
    await verify_left(postgresql, job)


async def test_a_job_that_is_worked_on_is_left_to_the_next_worker(postgresql: Workshop) -> None:
    job = await postgresql.provisioning.start(postgresql.request())
    async with stalled("provisioning.seed:before", postgresql.provisioning.run()) as working:
        working.cancel()
        await asyncio.wait([working])
        await verify_left(postgresql, job)
