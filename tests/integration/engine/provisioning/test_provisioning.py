"""A tenant's database is made, or connected, and served; or nothing of it is left."""

import asyncio
from dataclasses import replace

import pytest
from tests.integration.engine.provisioning.tables import TABLES
from tests.integration.engine.provisioning.workshop import Workshop

from bulkhead.engine import failpoints
from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.errors import Invalid
from bulkhead.engine.failpoints import Mode
from bulkhead.engine.fleet.model import SecretText, TenantId, TenantState
from bulkhead.engine.fleet.registry import set_state
from bulkhead.engine.ids import new_id
from bulkhead.engine.provisioning.job import (
    JobEnded,
    JobId,
    JobState,
    JobUnknown,
    ProvisioningUnderway,
    StepName,
    TenantProvisioned,
)
from bulkhead.engine.provisioning.schema import MigrationCall
from bulkhead.engine.provisioning.service import ProvisioningLimits

OPENED = "provisioning.open:after"
CLONED = {"postgresql": "template", "mysql": "statements"}
LABELS = [
    "o'neil\"s; drop table x; --",
    "`back` \\ slash %s %(x)s {0}",
    "ключ 商店 \u202e\u05d0\u200d\U0001f469\u200d\U0001f467",
    "é" * 32,
    "x" * 255,
    "../../etc/passwd\n\r\t\x07",
    "pg_catalog",
]


async def test_a_database_is_made_and_served(workshop: Workshop) -> None:
    job = await workshop.provision()
    await workshop.verify_served(job)
    assert job.source == CLONED[workshop.kind]
    assert await workshop.orphans() == []


async def test_a_database_is_connected_and_served(workshop: Workshop) -> None:
    async with workshop.owned() as config:
        job = await workshop.provision(workshop.request(config=config))
        await workshop.verify_served(job)
        assert await workshop.tables_of(config) == sorted([*TABLES, "_provisioning"])


@pytest.mark.parametrize("label", LABELS)
async def test_whatever_a_tenant_is_called_is_only_shown(workshop: Workshop, label: str) -> None:
    job = await workshop.provision(workshop.request(label))
    await workshop.verify_served(job, label)
    assert job.label == label


@pytest.mark.parametrize("label", ["", "  ", "a\0b", "\ud800", "x" * 256])
async def test_some_labels_are_no_text(postgresql: Workshop, label: str) -> None:
    with pytest.raises(Invalid):
        postgresql.request(label)


async def test_tables_that_are_there_are_kept_and_what_is_missing_is_made(
    workshop: Workshop,
) -> None:
    char = "char(36) character set ascii collate ascii_bin" if workshop.is_mysql else "uuid"
    async with workshop.owned(
        f"create table books_of_old (id {char} primary key, note varchar(20))",
        "insert into books_of_old (id, note)"
        " values ('0192b5a0-0000-7000-8000-000000000001', 'precious')",
    ) as config:
        job = await workshop.provision(workshop.request(config=config))
        await workshop.verify_served(job)
        assert "books_of_old" in await workshop.tables_of(config)


async def test_progress_is_told_until_the_tenant_is_served(workshop: Workshop) -> None:
    provisioning = workshop.again(ProvisioningLimits(poll_s=0.05))
    job = await workshop.provisioning.start(workshop.request())
    watching = provisioning.watch(job.id)
    seen = [await anext(watching)]
    # However fast the machine is, the watcher comes by while the job is under way.
    failpoints.arm(OPENED, Mode.STALL)
    worker = asyncio.create_task(provisioning.run())
    try:
        provisioning.ring()
        async for found in watching:
            seen.append(found)
            if found.step is StepName.OPEN:
                failpoints.disarm()
    finally:
        failpoints.disarm()
        worker.cancel()
        await asyncio.wait([worker])
    shares = [found.progress for found in seen]
    assert shares == sorted(shares)
    assert shares[-1] == 100
    assert seen[-1].state is JobState.ACTIVE
    assert seen[-1].step is StepName.ACTIVATE
    assert len({found.message for found in seen}) > 2
    await workshop.verify_served(seen[-1])


async def test_twenty_who_ask_at_once_get_one_job(workshop: Workshop) -> None:
    request = workshop.request()
    others = [workshop.again() for _ in range(4)]
    async with asyncio.TaskGroup() as group:
        asked = [group.create_task(others[n % len(others)].start(request)) for n in range(20)]
        for other in others:
            group.create_task(other.run_once())
    assert len({task.result().id for task in asked}) == 1
    job = await workshop.finish(asked[0].result())
    await workshop.verify_served(job)
    assert (await workshop.provisioning.start(request)).id == job.id
    assert len(await workshop.databases_of_fleet()) == (1 if workshop.is_mysql else 2)


async def test_another_request_has_to_wait_and_then_is_refused(postgresql: Workshop) -> None:
    request = postgresql.request()
    job = await postgresql.provisioning.start(request)
    other = replace(request, label="Another")
    with pytest.raises(ProvisioningUnderway):
        await postgresql.provisioning.start(other)
    await postgresql.finish(job)
    with pytest.raises(TenantProvisioned):
        await postgresql.provisioning.start(other)
    with pytest.raises(JobEnded):
        await postgresql.provisioning.cancel(job.id)


async def test_a_job_is_there_only_if_the_transaction_that_starts_it_commits(
    postgresql: Workshop,
) -> None:
    request = postgresql.request()
    block = postgresql.registry.transaction(SERVICE)
    tx = await block.__aenter__()
    job = await postgresql.provisioning.start(request, tx)
    error = ZeroDivisionError()
    await block.__aexit__(type(error), error, None)
    with pytest.raises(JobUnknown):
        await postgresql.provisioning.get(job.id)
    with pytest.raises(JobUnknown):
        await postgresql.provisioning.get(JobId(new_id()))


async def test_a_job_that_waits_is_cancelled_and_can_be_started_again(workshop: Workshop) -> None:
    request = workshop.request()
    job = await workshop.provisioning.start(request)
    await workshop.provisioning.cancel(job.id)
    await workshop.verify_clean(await workshop.finish(job), JobState.CANCELLED)
    again = await workshop.provisioning.start(request)
    assert again.id != job.id
    await workshop.verify_served(await workshop.finish(again))


async def test_two_tenants_cannot_have_one_database(workshop: Workshop) -> None:
    async with workshop.owned() as config:
        first = await workshop.provision(workshop.request(config=config))
        second = await workshop.provision(workshop.request(config=config))
        await workshop.verify_clean(second)
        assert second.error is not None
        assert second.error["code"] == "database_of_another"
        await workshop.verify_served(first)


async def test_two_tenants_who_name_one_database_at_once(workshop: Workshop) -> None:
    async with workshop.owned() as config:
        jobs = [
            await workshop.provisioning.start(workshop.request(config=config)) for _ in range(4)
        ]
        async with asyncio.TaskGroup() as group:
            for _ in jobs:
                group.create_task(workshop.again().run_once())
        ended = [await workshop.finish(job) for job in jobs]
        active = [job for job in ended if job.state is JobState.ACTIVE]
        assert len(active) == 1
        await workshop.verify_served(active[0])


async def test_a_database_that_was_connected_before_is_adopted_and_its_rows_stay(
    workshop: Workshop,
) -> None:
    async with workshop.owned() as config:
        request = workshop.request(config=config)
        job = await workshop.provision(request)
        async with workshop.registry.transaction(SERVICE) as tx:
            await tx.execute("delete from bulkhead.fleet_tenants where id = $1", job.tenant)
            await tx.execute("delete from bulkhead.provisioning_jobs where id = $1", job.id)
        wrong = replace(config, password=SecretText("forgotten"))
        failed = await workshop.provision(replace(request, config=wrong))
        assert failed.state is JobState.FAILED
        again = await workshop.provision(request)
        await workshop.verify_served(again)


async def test_what_fails_later_is_taken_back_but_not_what_was_there(workshop: Workshop) -> None:
    char = "char(36) character set ascii collate ascii_bin" if workshop.is_mysql else "uuid"
    ending = (
        " engine=InnoDB row_format=dynamic default charset=utf8mb4" if workshop.is_mysql else ""
    )
    async with workshop.owned(
        f"create table precious (id {char} not null primary key){ending}"
    ) as config:

        async def fail(*_: object) -> None:
            raise Invalid(reason="the seed does not like it")

        async def migrate(call: MigrationCall) -> None:
            await call.connection.execute("create table _migrations (id int)", (), timeout_s=10)

        schema = replace(workshop.schema, seed=fail, migrate=migrate)
        workshop.provisioning.shop.schemas[workshop.fleet] = schema  # type: ignore[index]
        job = await workshop.provision(workshop.request(config=config))
        await workshop.verify_clean(job)
        assert job.error is not None
        assert (job.error["code"], job.step) == ("invalid", StepName.SEED)
        assert await workshop.tables_of(config) == ["precious"]


async def test_a_tenant_that_is_there_already_is_not_touched(postgresql: Workshop) -> None:
    job = await postgresql.provision()
    async with postgresql.registry.transaction(SERVICE) as tx:
        await tx.execute("delete from bulkhead.provisioning_jobs where id = $1", job.id)
        await set_state(
            tx, job.tenant, TenantState.SUSPENDED, expected=[TenantState.ACTIVE], reason="x"
        )
    with pytest.raises(TenantProvisioned):
        await postgresql.provisioning.start(postgresql.request(tenant=TenantId(job.tenant)))
