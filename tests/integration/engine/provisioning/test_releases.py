"""Jobs that another release has worked on: newer ones are left to it, old steps are no riddle."""

from tests.integration.engine.provisioning.workshop import Workshop

from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.provisioning.job import JobState, ProvisioningJob
from bulkhead.engine.provisioning.store import list_jobs
from bulkhead.engine.testing import crash_at


async def note(workshop: Workshop, job: ProvisioningJob, change: str) -> None:
    """What another release writes into the job's row."""
    async with workshop.registry.transaction(SERVICE) as tx:
        await tx.execute(f"update bulkhead.provisioning_jobs set {change} where id = $1", job.id)


async def test_a_job_of_a_newer_release_is_shown_and_left_to_it(postgresql: Workshop) -> None:
    provisioning = postgresql.provisioning
    job = await provisioning.start(postgresql.request())
    await note(postgresql, job, "steps = 2, step = 'polish', message = 'Polishing'")
    assert await provisioning.run_once() == 0
    found = await provisioning.get(job.id)
    assert (found.state, found.step, found.step_name) == (JobState.QUEUED, None, "polish")
    async with postgresql.registry.transaction(SERVICE) as tx:
        [listed] = await list_jobs(tx, fleet=postgresql.fleet)
    assert listed.message == "Polishing"
    await provisioning.cancel(job.id)
    assert await provisioning.run_once() == 0
    await note(postgresql, job, "steps = 1")
    await postgresql.verify_clean(await postgresql.finish(job), JobState.CANCELLED)


async def test_a_job_at_a_step_that_is_no_more_goes_on(postgresql: Workshop) -> None:
    provisioning = postgresql.provisioning
    job = await provisioning.start(postgresql.request())
    with crash_at("provisioning.seed:after"):
        await provisioning.run_once()
    await postgresql.hurry()
    await note(postgresql, job, "step = 'polish'")
    await postgresql.verify_served(await postgresql.finish(job))


async def test_a_job_at_a_step_that_is_no_more_is_taken_back_as_a_whole(
    workshop: Workshop,
) -> None:
    provisioning = workshop.provisioning
    async with workshop.owned() as config:
        job = await provisioning.start(workshop.request(config=config))
        with crash_at("provisioning.seed:after"):
            await provisioning.run_once()
        assert await workshop.tables_of(config)
        await workshop.hurry()
        error = '{"code": "provisioning_cancelled", "message": "It was cancelled."}'
        await note(workshop, job, f"step = 'polish', state = 'undoing', error = '{error}'")
        await workshop.verify_clean(await workshop.finish(job), JobState.CANCELLED)
        assert await workshop.tables_of(config) == []
