"""A worker that dies anywhere: the next one finishes its job, or takes everything back.

The death is an exception that no handler of the runner catches, with the lease still held; the
next worker is one that knows nothing but the registry. Real processes are killed beside this.
"""

import pytest
from tests.integration.engine.provisioning.workshop import Workshop

from bulkhead.engine import failpoints
from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.errors import Invalid
from bulkhead.engine.provisioning.job import JobState, StepName
from bulkhead.engine.provisioning.runner import ATTEMPTS_TO_CONNECT_MAX
from bulkhead.engine.provisioning.schema import FleetSchema
from bulkhead.engine.provisioning.service import ProvisioningLimits
from bulkhead.engine.provisioning.steps import STEPS
from bulkhead.engine.testing import crash_at

FORWARD = [step.point(place) for step in STEPS for place in ("before", "after")]
BACK = [step.point(place) for step in STEPS for place in ("before_undo", "after_undo")]
STATEMENT = "provisioning.tables:after_statement"
WITHIN = [STATEMENT, "provisioning.tables:before_commit", "provisioning.tables:after_drop"]
SPARE = [
    f"provisioning.spares:{place}" for place in ("noted", "made", "filled", "sealed", "dropped")
]


def test_every_registered_point_is_tried() -> None:
    registered = {name for name in failpoints.registered() if name.startswith("provisioning.")}
    assert registered == {*FORWARD, *BACK, *WITHIN, *SPARE}


async def die(workshop: Workshop, point: str, *, after: int = 0) -> None:
    """Let a worker die at `point`; swallowed, as a death is."""
    with crash_at(point, after=after):
        await workshop.provisioning.run_once()
    await workshop.hurry()
    workshop.provisioning = workshop.again()


@pytest.mark.parametrize("point", FORWARD)
async def test_a_crash_at_a_step_of_one_that_is_made(workshop: Workshop, point: str) -> None:
    job = await workshop.provisioning.start(workshop.request())
    await die(workshop, point)
    await workshop.verify_served(await workshop.finish(job))
    assert await workshop.orphans() == []


@pytest.mark.parametrize("point", FORWARD)
async def test_a_crash_at_a_step_of_one_that_is_connected(workshop: Workshop, point: str) -> None:
    async with workshop.owned("create table precious (id int not null primary key)") as config:
        job = await workshop.provisioning.start(workshop.request(config=config))
        await die(workshop, point)
        await workshop.verify_served(await workshop.finish(job))


@pytest.mark.parametrize("point", FORWARD[:-1])
async def test_a_crash_and_then_a_cancel_leaves_nothing(workshop: Workshop, point: str) -> None:
    job = await workshop.provisioning.start(workshop.request())
    await die(workshop, point)
    await workshop.provisioning.cancel(job.id)
    await workshop.verify_clean(await workshop.finish(job), JobState.CANCELLED)


@pytest.mark.parametrize("point", FORWARD[:-1])
async def test_a_crash_and_then_a_cancel_leaves_an_owners_database_as_it_was(
    workshop: Workshop, point: str
) -> None:
    async with workshop.owned("create table precious (id int not null primary key)") as config:
        job = await workshop.provisioning.start(workshop.request(config=config))
        await die(workshop, point)
        await workshop.provisioning.cancel(job.id)
        await workshop.verify_clean(await workshop.finish(job), JobState.CANCELLED)
        assert await workshop.tables_of(config) == ["precious"]


async def test_what_an_earlier_attempt_made_is_taken_back_by_one_that_came_less_far(
    workshop: Workshop,
) -> None:
    async with workshop.owned("create table precious (id int not null primary key)") as config:
        job = await workshop.provisioning.start(workshop.request(config=config))
        await die(workshop, "provisioning.seed:after")
        await die(workshop, "provisioning.open:after")
        assert (await workshop.provisioning.get(job.id)).step is StepName.OPEN
        assert len(await workshop.tables_of(config)) > 1
        await workshop.provisioning.cancel(job.id)
        await die(workshop, "provisioning.list_tables:before_undo")
        await workshop.verify_clean(await workshop.finish(job), JobState.CANCELLED)
        assert await workshop.tables_of(config) == ["precious"]


async def test_a_server_that_was_reached_before_is_not_given_up_as_one_that_never_was(
    postgresql: Workshop,
) -> None:
    async with postgresql.owned() as config:
        job = await postgresql.provisioning.start(postgresql.request(config=config))
        await die(postgresql, "provisioning.seed:after")
        await postgresql.change(f"alter database {config.database} connection limit 0")
        for _ in range(ATTEMPTS_TO_CONNECT_MAX):
            await postgresql.provisioning.run_once()
            assert (await postgresql.provisioning.get(job.id)).state is JobState.QUEUED
            await postgresql.hurry()
        await postgresql.change(f"alter database {config.database} connection limit -1")
        await postgresql.verify_served(await postgresql.finish(job))


async def count_statements(workshop: Workshop) -> int:
    """How many statements make the tables of an owner's database."""
    reached: list[str] = []
    failpoints.observe(reached.append)
    try:
        async with workshop.owned() as config:
            await workshop.provision(workshop.request(config=config))
    finally:
        failpoints.observe(None)
    return reached.count(STATEMENT)


async def test_a_crash_after_every_statement_that_makes_a_table(workshop: Workshop) -> None:
    statements = await count_statements(workshop)
    assert statements >= 6
    for number in range(statements):
        async with workshop.owned("create table precious (id int not null primary key)") as config:
            job = await workshop.provisioning.start(workshop.request(config=config))
            await die(workshop, STATEMENT, after=number)
            await workshop.verify_served(await workshop.finish(job))
        async with workshop.owned("create table precious (id int not null primary key)") as config:
            job = await workshop.provisioning.start(workshop.request(config=config))
            await die(workshop, STATEMENT, after=number)
            await workshop.provisioning.cancel(job.id)
            await workshop.verify_clean(await workshop.finish(job), JobState.CANCELLED)
            assert await workshop.tables_of(config) == ["precious"]


async def test_a_crash_before_the_tables_are_committed(postgresql: Workshop) -> None:
    async with postgresql.owned() as config:
        job = await postgresql.provisioning.start(postgresql.request(config=config))
        await die(postgresql, "provisioning.tables:before_commit")
        await postgresql.verify_served(await postgresql.finish(job))


def let_the_seed_fail(workshop: Workshop) -> None:
    async def fail(*_: object) -> None:
        raise Invalid(reason="the seed does not like it")

    workshop.schema = FleetSchema(workshop.fleet, workshop.schema.metadata, 1, fail)
    workshop.provisioning = workshop.again()


@pytest.mark.parametrize("point", BACK[: -2 * 3])
async def test_a_crash_while_it_is_taken_back(workshop: Workshop, point: str) -> None:
    let_the_seed_fail(workshop)
    job = await workshop.provisioning.start(workshop.request())
    await die(workshop, point)
    await workshop.verify_clean(await workshop.finish(job))


@pytest.mark.parametrize("point", BACK[: -2 * 3])
async def test_a_crash_while_an_owners_database_is_taken_back(
    workshop: Workshop, point: str
) -> None:
    let_the_seed_fail(workshop)
    async with workshop.owned("create table precious (id int not null primary key)") as config:
        job = await workshop.provisioning.start(workshop.request(config=config))
        await die(workshop, point)
        await workshop.verify_clean(await workshop.finish(job))
        assert await workshop.tables_of(config) == ["precious"]


async def test_a_crash_after_a_statement_that_drops_a_table(workshop: Workshop) -> None:
    let_the_seed_fail(workshop)
    async with workshop.owned("create table precious (id int not null primary key)") as config:
        job = await workshop.provisioning.start(workshop.request(config=config))
        await die(workshop, "provisioning.tables:after_drop")
        await workshop.verify_clean(await workshop.finish(job))
        assert await workshop.tables_of(config) == ["precious"]


@pytest.mark.parametrize("point", [*SPARE[:-1], STATEMENT])
async def test_a_crash_while_a_spare_is_made(workshop: Workshop, point: str) -> None:
    limits = ProvisioningLimits(warm=2)
    filling = workshop.again(limits)
    spares = filling.shop.spares[workshop.fleet]
    with crash_at(point):
        await spares.refill()
    await workshop.hurry()
    after = workshop.again(limits)
    await after.tend()
    assert await workshop.orphans() == []
    async with workshop.registry.transaction(SERVICE) as tx:
        rows = await tx.fetch(
            "select purpose, state, count(*) from bulkhead.fleet_spares group by 1, 2 order by 1"
        )
    found = [tuple(row) for row in rows]
    templates = [] if workshop.is_mysql else [("template", "ready", 1)]
    assert found == [*templates, ("warm", "ready", 2)]


async def test_a_crash_while_a_spare_is_dropped(workshop: Workshop) -> None:
    old = workshop.again(ProvisioningLimits(warm=1))
    await old.tend()
    new = workshop.again(ProvisioningLimits(warm=1), version=2)
    with crash_at("provisioning.spares:dropped"):
        await new.shop.spares[workshop.fleet].sweep()
    await workshop.again(ProvisioningLimits(warm=1), version=2).tend()
    assert await workshop.orphans() == []
