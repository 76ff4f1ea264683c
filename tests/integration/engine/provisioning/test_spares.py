"""Templates and databases that are kept ready: each is had once, and none of an old schema."""

import asyncio
from typing import Any

import pytest
from tests.integration.engine.fleet.stalled import stalled
from tests.integration.engine.provisioning.workshop import Workshop

from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.drivers.endpoint import Tls
from bulkhead.engine.drivers.secret import Secret, SecretText
from bulkhead.engine.fleet.model import ConnectionConfig, ServerKind
from bulkhead.engine.fleet.placement import drain_server
from bulkhead.engine.fleet.registry import ServerEntry, add_server, get_tenant
from bulkhead.engine.ongoing import claimed
from bulkhead.engine.provisioning import spares as spares_module
from bulkhead.engine.provisioning.job import JobState
from bulkhead.engine.provisioning.service import Provisioning, ProvisioningLimits
from bulkhead.engine.provisioning.spares import spec_of_tenant
from bulkhead.engine.provisioning.steps import STEPS
from bulkhead.engine.testing import crash_at

TWO = ProvisioningLimits(warm=2)


async def spares_of(workshop: Workshop) -> list[tuple[str, int]]:
    """Purpose and version of what is ready."""
    async with workshop.registry.transaction(SERVICE) as tx:
        rows = await tx.fetch(
            "select purpose, version from bulkhead.fleet_spares where state = 'ready' order by 1, 2"
        )
    return [tuple(row) for row in rows if row["purpose"] == "warm"]


async def test_a_database_that_is_ready_is_given_away_and_replaced(workshop: Workshop) -> None:
    workshop.provisioning = workshop.again(TWO)
    await workshop.provisioning.tend()
    assert await spares_of(workshop) == [("warm", 1)] * 2
    job = await workshop.provision()
    assert job.source == "warm"
    await workshop.verify_served(job)
    assert await spares_of(workshop) == [("warm", 1)]
    await workshop.provisioning.tend()
    assert await spares_of(workshop) == [("warm", 1)] * 2
    assert await workshop.orphans() == []


async def test_many_at_once_get_different_databases(workshop: Workshop) -> None:
    workshop.provisioning = workshop.again(TWO)
    await workshop.provisioning.tend()
    jobs = [await workshop.provisioning.start(workshop.request()) for _ in range(5)]
    async with asyncio.TaskGroup() as group:
        for _ in jobs:
            group.create_task(workshop.again(TWO).run_once())
    ended = [await workshop.finish(job) for job in jobs]
    for job in ended:
        await workshop.verify_served(job)
    assert len({job.database for job in ended}) == len(jobs)
    assert [job.source for job in ended].count("warm") == 2
    assert await workshop.orphans() == []


async def test_refilling_at_once_makes_no_more_than_are_wanted(workshop: Workshop) -> None:
    async with asyncio.TaskGroup() as group:
        for _ in range(4):
            group.create_task(workshop.again(TWO).shop.spares[workshop.fleet].refill())
    assert await spares_of(workshop) == [("warm", 1)] * 2
    assert await workshop.orphans() == []


async def test_who_sweeps_at_once_drops_each_once(
    workshop: Workshop, caplog: pytest.LogCaptureFixture
) -> None:
    many = [workshop.again(ProvisioningLimits(warm=5)) for _ in range(3)]
    spares = [each.shop.spares[workshop.fleet] for each in many]
    assert await spares[0].refill() == 5
    async with workshop.registry.transaction(SERVICE) as tx:
        await tx.execute(
            "update bulkhead.fleet_spares set state = 'dropping', leased_until = now()"
            " where purpose = 'warm'"
        )
    async with asyncio.TaskGroup() as group:
        sweeps = [group.create_task(each.sweep()) for each in spares]
    assert sum(task.result() for task in sweeps) == 5
    assert [record.getMessage() for record in caplog.records] == []
    assert await workshop.orphans() == []


async def test_what_appears_after_a_job_was_taken_back_is_dropped_once(
    workshop: Workshop, caplog: pytest.LogCaptureFixture
) -> None:
    job = await workshop.provisioning.start(workshop.request())
    with crash_at("provisioning.open:after"):
        await workshop.provisioning.run_once()
    await workshop.provisioning.cancel(job.id)
    await workshop.hurry()
    cancelled = await workshop.finish(job)
    assert cancelled.database is not None
    spec = spec_of_tenant(workshop.schema, workshop.driver.dialect, cancelled.database)
    await workshop.driver.ensure_database(spec)  # As a worker does that slept through it all.
    async with workshop.registry.transaction(SERVICE) as tx:
        await tx.execute("update bulkhead.provisioning_jobs set finished_at = 'epoch'")
    caplog.clear()
    async with asyncio.TaskGroup() as group:
        for _ in range(3):
            group.create_task(workshop.again().tend())
    assert [record.getMessage() for record in caplog.records] == []
    assert await workshop.orphans() == []


@pytest.mark.parametrize("step", STEPS[:-1], ids=lambda step: step.name)
async def test_a_crash_with_a_database_out_of_the_pool(workshop: Workshop, step: object) -> None:
    point = step.point("after")  # type: ignore[attr-defined]
    workshop.provisioning = workshop.again(TWO)
    await workshop.provisioning.tend()
    jobs = [await workshop.provisioning.start(workshop.request()) for _ in range(2)]
    for _ in jobs:
        with crash_at(point):
            await workshop.provisioning.run_once()
    await workshop.provisioning.cancel(jobs[0].id)
    await workshop.hurry()
    workshop.provisioning = workshop.again(TWO)
    cancelled = await workshop.finish(jobs[0])
    await workshop.verify_served(await workshop.finish(jobs[1]))
    await workshop.verify_clean(cancelled, JobState.CANCELLED)


async def test_an_upgrade_replaces_what_is_ready(workshop: Workshop) -> None:
    old, new = workshop.again(TWO), workshop.again(TWO, version=2)
    await old.tend()
    await new.tend()
    assert await spares_of(workshop) == [("warm", 2)] * 2
    await old.shop.spares[workshop.fleet].sweep()
    assert await spares_of(workshop) == [("warm", 2)] * 2
    job = await new.start(workshop.request())
    await new.run_once()
    served = await new.get(job.id)
    assert (served.state, served.source) == (JobState.ACTIVE, "warm")
    async with workshop.registry.transaction(SERVICE) as tx:
        assert (await get_tenant(tx, job.tenant)).schema_version == 2
    assert await workshop.orphans() == []


async def test_a_process_of_the_old_schema_makes_its_own_during_an_upgrade(
    postgresql: Workshop,
) -> None:
    new = postgresql.again(TWO, version=2)
    await new.tend()
    job = await postgresql.provision()
    await postgresql.verify_served(job)
    assert job.source == "template"


@pytest.mark.parametrize("point", ["noted", "made", "filled"])
async def test_a_spare_whose_making_is_cancelled_is_dropped_soon(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    monkeypatch.setattr(spares_module, "SETTLED_S", 0.0)
    spares = workshop.again(TWO).shop.spares[workshop.fleet]
    await workshop.provision()  # Whoever needs a template has one.
    async with stalled(f"provisioning.spares:{point}", spares.refill()) as making:
        assert (await spares.left_at("here")).busy_until is not None
        making.cancel()
        await asyncio.wait([making])
    assert making.cancelled()
    assert (await spares.left_at("here")).busy_until is None
    assert await spares.sweep() == 1
    assert await workshop.orphans() == []


async def test_a_spare_whose_note_is_cancelled_at_its_commit_is_dropped_soon(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spares_module, "SETTLED_S", 0.0)
    spares = workshop.again(TWO).shop.spares[workshop.fleet]
    await workshop.provision()
    had = (await spares.left_at("here")).count

    async def claimed_and_cancelled(claim: Any, give_back: Any) -> Any:
        making.cancel()  # Takes effect at the next wait, before the note is there.
        return await claimed(claim, give_back)

    monkeypatch.setattr(spares_module, "claimed", claimed_and_cancelled)
    making = asyncio.create_task(spares.refill())
    await asyncio.wait([making])
    monkeypatch.undo()
    assert making.cancelled()
    left = await spares.left_at("here")
    assert (left.count, left.busy_until) == (had + 1, None)
    assert await spares.sweep() == 1


async def test_what_a_cancelled_sweep_leaves_is_dropped_soon(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spares_module, "SETTLED_S", 0.0)
    spares = workshop.again(ProvisioningLimits(warm=6)).shop.spares[workshop.fleet]
    assert await spares.refill() == 6
    async with workshop.registry.transaction(SERVICE) as tx:
        await drain_server(tx, "here")
    workshop.databases._servers.clear()
    async with stalled(spares_module.DROPPED, spares.sweep()) as sweeping:
        assert (await spares.left_at("here")).busy_until is not None
        sweeping.cancel()
        await asyncio.wait([sweeping])
    assert sweeping.cancelled()
    left = await spares.left_at("here")
    assert (left.count > 0, left.busy_until) == (True, None)
    assert await spares.sweep() == left.count
    assert await workshop.orphans() == []


async def test_a_server_that_is_drained_keeps_no_spares(workshop: Workshop) -> None:
    provisioning: Provisioning = workshop.again(TWO)
    await provisioning.tend()
    spares = provisioning.shop.spares[workshop.fleet]
    [looked_at] = await spares._servers()
    async with workshop.registry.transaction(SERVICE) as tx:
        await drain_server(tx, "here")
    workshop.databases._servers.clear()
    await provisioning.tend()
    assert await workshop.databases_of_fleet() == set()
    # Who has looked at the server before makes no more there either.
    assert await spares._make(looked_at, "warm") is None
    assert await workshop.databases_of_fleet() == set()


async def test_a_server_that_is_away_gathers_no_notes(postgresql: Workshop) -> None:
    databases = postgresql.databases
    databases.secret = Secret(b"s" * 32)
    config = ConnectionConfig(
        ServerKind.POSTGRESQL, "127.0.0.1", 1, "postgres", "nobody", SecretText("x"), Tls.DISABLE
    )
    sealed = await databases.seals.seal_endpoint("away", config)
    away = ServerEntry("away", ServerKind.POSTGRESQL, config.server, 10, sealed_endpoint=sealed)
    async with postgresql.registry.transaction(SERVICE) as tx:
        await add_server(tx, away)
    provisioning: Provisioning = postgresql.again(TWO)
    for _ in range(3):
        await provisioning.tend()
    async with postgresql.registry.transaction(SERVICE) as tx:
        noted = await tx.fetch("select server from bulkhead.fleet_spares")
    assert {row["server"] for row in noted} == {"here"}
    assert await spares_of(postgresql) == [("warm", 1)] * 2


async def test_a_template_that_was_dropped_by_hand_is_made_anew(postgresql: Workshop) -> None:
    await postgresql.provision()
    async with postgresql.registry.transaction(SERVICE) as tx:
        name = await tx.fetchval(
            "select name from bulkhead.fleet_spares where purpose = 'template'"
        )
    await postgresql.change(f"drop database {name}")
    await postgresql.verify_served(await postgresql.provision())
    await postgresql.provisioning.tend()
    assert await postgresql.orphans() == []
