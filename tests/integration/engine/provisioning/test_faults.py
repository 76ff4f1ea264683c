"""Wrong, missing, hanging, hostile: always a code and a hint, and nothing left behind."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from tests.integration.engine.drivers.rogue_mysql import Talk, greeting, rogue_mysql, switch
from tests.integration.engine.drivers.rogue_server import Reader, Writer, request, rogue
from tests.integration.engine.provisioning.workshop import Workshop

from bulkhead.engine import failpoints
from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.drivers.endpoint import Tls
from bulkhead.engine.failpoints import Mode
from bulkhead.engine.fleet.model import ConnectionConfig, SecretText
from bulkhead.engine.fleet.placement import drain_server
from bulkhead.engine.provisioning import runner, target
from bulkhead.engine.provisioning.job import JobState, ProvisioningJob, StepName
from bulkhead.engine.provisioning.service import Provisioning, ProvisioningLimits

CANARY = "canary-c2VjcmV0-password"


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(target, "CONNECT_TIMEOUT_S", 0.2)


async def refused(workshop: Workshop, config: ConnectionConfig) -> ProvisioningJob:
    """A connection that cannot be had; nothing is left of the try."""
    job = await workshop.provision(workshop.request(config=config))
    await workshop.verify_clean(job)
    assert job.error is not None
    assert job.error["hint"]
    assert CANARY not in str(job)
    return job


def code_of(job: ProvisioningJob) -> str:
    assert job.error is not None
    return str(job.error["code"])


async def test_a_wrong_password(workshop: Workshop) -> None:
    async with workshop.owned() as config:
        job = await refused(workshop, replace(config, password=SecretText(CANARY)))
        assert code_of(job) == "login_refused"
        assert job.error is not None
        assert "password" in job.error["hint"]
        assert job.attempts <= 1


async def test_a_database_that_is_not_there(workshop: Workshop) -> None:
    async with workshop.owned() as config:
        job = await refused(workshop, replace(config, database="nowhere"))
        assert code_of(job) in {"database_missing", "login_refused"}


async def test_a_user_who_may_create_nothing(workshop: Workshop) -> None:
    async with workshop.owned() as config:
        if workshop.is_mysql:
            await workshop.change(
                f"revoke all privileges on {config.database}.* from {config.username}@'%%'",
                f"grant select on {config.database}.* to {config.username}@'%%'",
            )
        else:
            await workshop.change(f"alter database {config.database} owner to postgres")
        job = await refused(workshop, config)
        assert (code_of(job), job.step) == ("rights_missing", StepName.LIST_TABLES)
        assert await workshop.tables_of(config) == []


async def test_a_table_of_the_same_name_that_is_another(workshop: Workshop) -> None:
    async with workshop.owned("create table books (id int not null primary key)") as config:
        job = await refused(workshop, config)
        assert code_of(job) == "schema_differs"
        assert await workshop.tables_of(config) == ["books"]


async def test_nobody_listens_there(workshop: Workshop) -> None:
    async with workshop.owned() as config:
        job = await refused(workshop, replace(config, port=9))
        assert code_of(job) in {"server_unreachable", "host_unreachable"}


@pytest.mark.usefixtures("impatient")
async def test_a_server_that_accepts_and_never_answers(workshop: Workshop) -> None:
    held: list[asyncio.Task[bytes]] = []

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        held.append(asyncio.ensure_future(reader.read()))
        await held[-1]
        writer.close()

    server = await asyncio.start_server(hang, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        async with workshop.owned() as config:
            job = await refused(workshop, replace(config, port=port))
            assert code_of(job) in {"server_unreachable", "statement_timeout"}
            async with asyncio.timeout(30):
                for connection in held:
                    await connection  # It ends when the platform hangs up.
    assert held


async def test_a_host_that_nobody_may_name(workshop: Workshop) -> None:
    async with workshop.owned() as config:
        for host in ("169.254.169.254", "10.0.0.1", "2130706433", "metadata.google.internal"):
            job = await refused(workshop, replace(config, host=host))
            assert code_of(job) == "host_refused"


async def test_a_server_without_the_tls_that_was_asked_for(postgresql: Workshop) -> None:
    async with postgresql.owned() as config:
        job = await refused(postgresql, replace(config, tls=Tls.VERIFY_FULL))
        assert code_of(job) == "tls_required"


async def test_a_rogue_that_asks_for_the_password_hears_none(workshop: Workshop) -> None:
    async def ask(_: Reader, writer: Writer) -> None:
        writer.write(request(3))

    async def ask_mysql(talk: Talk) -> None:
        await talk.say(greeting())
        await talk.hear()
        await talk.say(switch(b"mysql_clear_password", b""))
        await talk.hear()

    async with workshop.owned() as owned:
        config = replace(owned, password=SecretText(CANARY))
        if workshop.is_mysql:
            async with rogue_mysql(ask_mysql) as server:
                await refused(workshop, replace(config, port=server.port))
                assert CANARY.encode() not in server.heard
        else:
            async with rogue(ask) as (port, heard):
                await refused(workshop, replace(config, port=port))
                assert CANARY.encode() not in heard.data


async def test_the_password_is_kept_sealed_and_goes_with_the_job(workshop: Workshop) -> None:
    async with workshop.owned() as config:
        job = await workshop.provisioning.start(
            workshop.request(config=replace(config, password=SecretText(CANARY)))
        )
        for _ in range(2):
            async with workshop.registry.transaction(SERVICE) as tx:
                rows = await tx.fetch(
                    "select j::text as job, sealed_config"
                    " from bulkhead.provisioning_jobs j where id = $1",
                    job.id,
                )
            assert CANARY not in rows[0]["job"]
            assert CANARY.encode().hex() not in rows[0]["job"]
            ended = await workshop.finish(job)
        assert ended.sealed_config is None


async def test_a_server_that_is_away_for_a_while(workshop: Workshop) -> None:
    """The fleet's server is tried again, and then the database is made."""
    drivers = workshop.databases.drivers
    away = drivers.pop("here")
    async with workshop.registry.transaction(SERVICE) as tx:
        await drain_server(tx, "here")
    job = await workshop.provisioning.start(workshop.request())
    await workshop.provisioning.run_once()
    waiting = await workshop.provisioning.get(job.id)
    assert (waiting.state, waiting.attempts) == (JobState.QUEUED, 1)
    assert "room" in waiting.message
    async with workshop.registry.transaction(SERVICE) as tx:
        await drain_server(tx, "here", draining=False)
    drivers["here"] = away
    await workshop.verify_served(await workshop.finish(job))


async def test_a_fleet_without_room_says_so(workshop: Workshop) -> None:
    job = await workshop.provision(workshop.request(labels={"region": "moon"}))
    await workshop.verify_clean(job)
    assert code_of(job) == "no_server_fits"


@asynccontextmanager
async def asleep(provisioning: Provisioning, point: str) -> AsyncIterator[asyncio.Task[int]]:
    """A worker that falls asleep at `point`, and wakes when the block ends."""
    reached = asyncio.Event()
    failpoints.observe(lambda name: reached.set() if name == point else None)
    failpoints.arm(point, Mode.STALL)
    worker = asyncio.create_task(provisioning.run_once())
    try:
        async with asyncio.timeout(20):
            await reached.wait()
        failpoints.observe(None)
        yield worker
    finally:
        failpoints.observe(None)
        failpoints.disarm()
        await asyncio.wait([worker], timeout=30)


SLEEPS = ["open:before", "open:after", "list_tables:before", "create_tables:before", "seed:before"]


@pytest.fixture
def attentive(monkeypatch: pytest.MonkeyPatch, workshop: Workshop, point: str) -> None:
    """Who sleeps with the lock of a MySQL database keeps the others waiting until it is stopped."""
    if workshop.is_mysql and not point.startswith("open"):
        monkeypatch.setattr(runner, "CHECK_S_MAX", 0.2)


@pytest.mark.usefixtures("attentive")
@pytest.mark.parametrize("point", [*SLEEPS, "activate:before"])
async def test_one_who_slept_through_it_spoils_nothing(workshop: Workshop, point: str) -> None:
    job = await workshop.provisioning.start(workshop.request())
    sleepy = workshop.again(ProvisioningLimits(lease_s=3600))
    async with asleep(sleepy, f"provisioning.{point}"):
        await workshop.hurry()
        await workshop.verify_served(await workshop.finish(job))
    await workshop.verify_served(await workshop.provisioning.get(job.id))
    assert await workshop.orphans() == []


@pytest.mark.parametrize("point", SLEEPS)
async def test_one_who_slept_through_a_cancel_leaves_nothing(
    workshop: Workshop, point: str
) -> None:
    job = await workshop.provisioning.start(workshop.request())
    sleepy = workshop.again(ProvisioningLimits(lease_s=3600))
    async with asleep(sleepy, f"provisioning.{point}"):
        await workshop.provisioning.cancel(job.id)
        await workshop.hurry()
        cancelled = await workshop.finish(job)
    await workshop.verify_clean(cancelled, JobState.CANCELLED)


@pytest.mark.usefixtures("attentive")
@pytest.mark.parametrize("point", SLEEPS[1:])
async def test_one_who_slept_through_a_cancel_leaves_an_owners_database_alone(
    workshop: Workshop, point: str
) -> None:
    async with workshop.owned("create table precious (id int not null primary key)") as config:
        job = await workshop.provisioning.start(workshop.request(config=config))
        sleepy = workshop.again(ProvisioningLimits(lease_s=3600))
        async with asleep(sleepy, f"provisioning.{point}"):
            await workshop.provisioning.cancel(job.id)
            await workshop.hurry()
            cancelled = await workshop.finish(job)
        await workshop.verify_clean(cancelled, JobState.CANCELLED)
        assert await workshop.tables_of(config) == ["precious"]


async def test_a_job_that_hangs_is_cancelled_at_once(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(target, "CONNECT_TIMEOUT_S", 60.0)
    monkeypatch.setattr(runner, "CHECK_S_MAX", 0.2)

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(hang, "127.0.0.1", 0)
    async with server, workshop.owned() as config:
        port = server.sockets[0].getsockname()[1]
        request_ = workshop.request(config=replace(config, port=port))
        job = await workshop.provisioning.start(request_)
        worker = asyncio.create_task(workshop.provisioning.run_once())
        async for found in workshop.provisioning.watch(job.id):
            if found.step is StepName.OPEN and not found.has_ended:
                await workshop.provisioning.cancel(job.id)
        async with asyncio.timeout(30):
            await worker
        ended = await workshop.provisioning.get(job.id)
        await workshop.verify_clean(ended, JobState.CANCELLED)


async def test_a_cancel_is_heeded_until_the_tenant_is_served(workshop: Workshop) -> None:
    job = await workshop.provisioning.start(workshop.request())
    working = workshop.again(ProvisioningLimits(lease_s=3600))
    async with asleep(working, "provisioning.activate:before"):
        await workshop.provisioning.cancel(job.id)
    await workshop.verify_clean(await workshop.finish(job), JobState.CANCELLED)


async def leased_until(workshop: Workshop, job: ProvisioningJob) -> object:
    async with workshop.registry.transaction(SERVICE) as tx:
        return await tx.fetchval(
            "select leased_until from bulkhead.provisioning_jobs where id = $1", job.id
        )


async def test_a_long_step_keeps_its_lease(
    postgresql: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "CHECK_S_MAX", 0.05)
    job = await postgresql.provisioning.start(postgresql.request())
    slow = postgresql.again(ProvisioningLimits(lease_s=60))
    async with asleep(slow, "provisioning.seed:before"):
        before = await leased_until(postgresql, job)
        async with asyncio.timeout(20):
            while await leased_until(postgresql, job) == before:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        assert await postgresql.provisioning.run_once() == 0
    await postgresql.verify_served(await postgresql.provisioning.get(job.id))


async def test_a_worker_that_is_stopped_gives_its_job_back_at_once(workshop: Workshop) -> None:
    job = await workshop.provisioning.start(workshop.request())
    stopped = workshop.again()
    async with asleep(stopped, "provisioning.seed:before") as worker:
        worker.cancel()
        await asyncio.wait([worker])
    assert (await workshop.provisioning.get(job.id)).state is JobState.QUEUED
    assert await workshop.provisioning.run_once() == 1
    await workshop.verify_served(await workshop.provisioning.get(job.id))
