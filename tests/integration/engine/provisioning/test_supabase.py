"""Tenants whose databases are projects of a Supabase organization, made by jobs that may die."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from itertools import count
from pathlib import Path

import pytest
import sqlalchemy as sa
from supabase_api import Fault, SupabaseApi, open_cloud
from supabase_pooler import open_pooler
from supabase_projects import ABSENT, can_listen
from tests.integration.engine.drivers.supabase_subject import REGION
from tests.integration.engine.provisioning.studio import SERVER, Studio
from tests.integration.engine.provisioning.tables import SHELVES, schema_of

from bulkhead.engine import failpoints
from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.connections.database import OpenDatabase
from bulkhead.engine.fleet.fleet import OUTSIDE
from bulkhead.engine.fleet.lifecycle import Lifecycle
from bulkhead.engine.fleet.model import TenantId
from bulkhead.engine.fleet.owner import as_owner, past_policies
from bulkhead.engine.fleet.registry import (
    drain_reserved,
    get_tenant,
)
from bulkhead.engine.fleet.supabase import (
    own_labels,
    own_server,
)
from bulkhead.engine.ids import new_id
from bulkhead.engine.provisioning.job import JobState
from bulkhead.engine.provisioning.steps import STEPS
from bulkhead.engine.testing import crash_at

FORWARD = [step.point(place) for step in STEPS for place in ("before", "after")]
PROJECT = sorted(
    name
    for name in failpoints.registered()
    if name.startswith("supabase.") and not name.endswith(":deleted")
)
_numbers = count(1)


@pytest.fixture(scope="module")
async def api() -> AsyncIterator[SupabaseApi]:
    if not can_listen():
        pytest.skip(ABSENT)
    async with open_cloud() as api:
        yield api
        assert api.complaints == []


@pytest.fixture
async def studio(api: SupabaseApi, registry: OpenDatabase) -> AsyncIterator[Studio]:
    api.rules.clear()
    organization = api.cloud.add_organization()
    studio = Studio(api, organization, registry, schema_of(f"s{next(_numbers)}"))
    await studio.add()
    yield studio
    for project in studio.projects:
        api.cloud.delete(project.ref)


async def test_a_project_is_made_while_its_progress_is_told(studio: Studio) -> None:
    studio.api.cloud.polls = 3
    try:
        job = await studio.provisioning.start(studio.request())
        told = []
        for _ in range(8):
            await studio.provisioning.run_once()
            found = await studio.provisioning.get(job.id)
            told.append((found.state, found.message, found.attempts))
            if found.has_ended:
                break
            await studio.hurry()
    finally:
        studio.api.cloud.polls = 1
    waiting = (JobState.QUEUED, "Creating the Supabase project: COMING_UP", 0)
    assert told[:3] == [waiting] * 3
    await studio.verify_served(found)
    assert (found.tables_created, found.source) == (found.total_tables, "statements")


@pytest.mark.parametrize("point", [*FORWARD, *PROJECT])
async def test_a_crash_at_a_step(studio: Studio, point: str) -> None:
    job = await studio.provisioning.start(studio.request())
    with crash_at(point):
        await studio.go_on()
    studio.again()
    await studio.verify_served(await studio.finish(job))


@pytest.mark.parametrize("point", [*FORWARD[:3], *FORWARD[-4:-1], *PROJECT])
async def test_a_crash_and_then_a_cancel_leaves_nothing(studio: Studio, point: str) -> None:
    job = await studio.provisioning.start(studio.request())
    with crash_at(point):
        await studio.go_on()
    studio.again()
    await studio.provisioning.cancel(job.id)
    await studio.verify_clean(await studio.finish(job), JobState.CANCELLED)


@pytest.mark.parametrize("point", ["provisioning.open:before_undo", "provisioning.open:after_undo",
                                   "supabase.project:deleted"])  # fmt: skip
async def test_a_crash_while_it_is_taken_back(studio: Studio, point: str) -> None:
    job = await studio.provisioning.start(studio.request())
    await studio.provisioning.run_once()
    assert len(studio.projects) == 1
    await studio.provisioning.cancel(job.id)
    with crash_at(point):
        await studio.provisioning.run_once()
    await studio.hurry()
    studio.again()
    await studio.verify_clean(await studio.finish(job), JobState.CANCELLED)


@pytest.mark.parametrize(
    ("method", "pattern", "fault", "times"),
    [
        ("post", "/v1/projects$", Fault.LOST, 1),
        ("post", "/v1/projects$", Fault.ERROR, 1),
        ("post", "/v1/projects$", Fault.CUT, 1),
        ("post", "/v1/projects$", Fault.GARBAGE, 1),
        ("post", "/v1/projects$", Fault.THROTTLE, 9),
        ("get", "/projects$", Fault.ERROR, 4),
        ("get", "/v1/projects/", Fault.CUT, 4),
        ("get", "/v1/projects/", Fault.STRANGE, 2),
    ],
)
async def test_whatever_fails_on_the_way_ends_with_one_project(
    studio: Studio, method: str, pattern: str, fault: Fault, times: int
) -> None:
    studio.api.fail(method, pattern, fault, times)
    job = await studio.provisioning.start(studio.request())
    await studio.verify_served(await studio.finish(job))


async def test_a_rate_limit_costs_no_attempt(studio: Studio) -> None:
    studio.api.requests.clear()
    studio.api.throttled_after = 0
    job = await studio.provisioning.start(studio.request())
    for _ in range(9):  # More often than anything may fail.
        await studio.provisioning.run_once()
        await studio.hurry()
    found = await studio.provisioning.get(job.id)
    assert (found.state, found.attempts) == (JobState.QUEUED, 0)
    assert "takes no more requests" in found.message
    studio.api.throttled_after = None
    await studio.verify_served(await studio.finish(job))


async def test_a_project_that_cannot_be_started_fails_with_its_status(studio: Studio) -> None:
    studio.api.cloud.outcome = "INIT_FAILED"
    try:
        job = await studio.provisioning.start(studio.request())
        ended = await studio.finish(job)
    finally:
        studio.api.cloud.outcome = "ACTIVE_HEALTHY"
    await studio.verify_clean(ended, JobState.FAILED)
    assert ended.error is not None
    assert (ended.error["code"], "INIT_FAILED" in ended.error["message"]) == (
        "supabase_project_failed", True,
    )  # fmt: skip


async def test_a_quota_of_the_organization_is_told(studio: Studio) -> None:
    studio.organization.projects_max = 0
    job = await studio.provisioning.start(studio.request())
    ended = await studio.finish(job)
    await studio.verify_clean(ended, JobState.FAILED)
    assert ended.error is not None
    assert ended.error["code"] == "supabase_request_refused"
    assert "maximum number of projects" in ended.error["message"]


async def test_many_requests_for_one_tenant_make_one_project(studio: Studio) -> None:
    request = studio.request()
    tasks = [asyncio.create_task(studio.provisioning.start(request)) for _ in range(20)]
    await asyncio.wait(tasks)
    assert len({task.result().id for task in tasks}) == 1
    await studio.verify_served(await studio.finish(tasks[0].result()))


async def test_a_worker_that_slept_leaves_no_second_project(studio: Studio) -> None:
    """Two workers at one job, as when the first keeps silent for longer than its lease."""
    job = await studio.provisioning.start(studio.request())
    failpoints.arm("supabase.project:before_create", failpoints.Mode.STALL)
    there = asyncio.Event()
    failpoints.observe(lambda name: there.set() if name.endswith(":before_create") else None)
    slow = asyncio.create_task(studio.provisioning.run_once())
    await there.wait()
    failpoints.observe(None)
    await studio.hurry()
    studio.again()
    ended = await studio.finish(job)
    failpoints.disarm("supabase.project:before_create")
    await slow
    await studio.verify_served(ended)


async def test_a_tenant_lives_its_life_in_its_project(studio: Studio, tmp_path: Path) -> None:
    job = await studio.finish(await studio.provisioning.start(studio.request()))
    async with studio.fleet() as fleet:
        lifecycle = Lifecycle(fleet, tmp_path)
        await lifecycle.suspend(job.tenant, "for a test")
        (project,) = studio.projects
        assert project.cluster is not None
        async with project.cluster.look() as admin:
            may = "select array_agg(rolcanlogin) from pg_roles where rolname like $1"
            assert await admin.fetchval(may, "%\\_service") == [False]
        await lifecycle.resume(job.tenant)
        async with fleet.connection(job.tenant) as connection:
            assert await connection.fetch(sa.select(SHELVES.c.id))
        await lifecycle.delete(job.tenant, grace_s=0)
        assert await lifecycle.purge_due() == 1
    assert studio.projects == []
    assert list(tmp_path.glob("*.zip"))


async def test_a_tenant_whose_project_has_no_other_way_is_served_through_its_pooler(
    studio: Studio,
) -> None:
    cloud = studio.api.cloud
    cloud.is_direct = False
    try:
        async with open_pooler(cloud):
            job = await studio.provisioning.start(studio.request())
            with crash_at("provisioning.verify:after"):
                await studio.go_on()
            studio.again()
            ended = await studio.finish(job)
            await studio.verify_served(ended)
            async with studio.registry.transaction(SERVICE) as tx:
                located = (await get_tenant(tx, job.tenant)).place.located
            assert located == f"{studio.projects[0].ref}@aws-0-{REGION}.pooler.supabase.com"
            await studio.purge(job.tenant)
    finally:
        cloud.is_direct = True
    assert studio.projects == []


async def test_who_changes_a_schema_and_who_sees_every_row_may_do_so_in_a_project(
    studio: Studio,
) -> None:
    job = await studio.finish(await studio.provisioning.start(studio.request()))
    async with studio.registry.transaction(SERVICE) as tx:
        row = await get_tenant(tx, job.tenant)
    async with as_owner(studio.databases, row) as owner:
        for statement in (
            "create table public.added (id integer primary key, owner uuid)",
            "insert into public.added values (1)",
            "alter table public.added enable row level security",
            "alter table public.added force row level security",
            "create policy own on public.added to authenticated using (owner = auth.uid())",
            "create table private.kept (id integer)",
        ):
            await owner.execute(statement, (), timeout_s=10)
        assert await owner.fetch("select id from public.added", (), timeout_s=10) == []
    async with past_policies(studio.databases, row) as everything:
        rows = await everything.fetch("select id from public.added", (), timeout_s=10)
        assert [each["id"] for each in rows] == [1]


async def test_a_project_that_is_away_slows_no_other(studio: Studio) -> None:
    one = await studio.finish(await studio.provisioning.start(studio.request()))
    other = await studio.finish(await studio.provisioning.start(studio.request()))
    async with studio.fleet() as fleet:
        for job in (one, other):
            async with fleet.connection(job.tenant) as connection:
                await connection.fetch(sa.select(SHELVES.c.id))
        assert len(fleet._budgets) == 2


@pytest.mark.parametrize("point", [None, "provisioning.open:after", "provisioning.save:after"])
async def test_the_account_of_an_owner_takes_that_tenant_and_no_other(
    studio: Studio, point: str | None
) -> None:
    theirs, tenant = studio.api.cloud.add_organization(), TenantId(new_id())
    config = await studio.add_account(tenant, theirs)
    stranger = await studio.finish(await studio.provisioning.start(studio.request()))
    assert len(studio.projects) == 1
    job = await studio.provisioning.start(studio.request(tenant, labels=own_labels(config)))
    if point is not None:
        with crash_at(point):
            await studio.go_on()
        studio.again()
    ended = await studio.finish(job)
    assert (ended.state, ended.server) == (JobState.ACTIVE, own_server(tenant, config, b"").name)
    cloud = studio.api.cloud
    (project,) = [each for each in cloud.projects.values() if each.organization is theirs]
    assert project.region == "us-east-1"
    async with studio.fleet() as fleet:
        for served in (job.tenant, stranger.tenant):
            async with fleet.connection(served):
                pass
        # However many accounts there are, they are one in the figures.
        assert sorted(fleet.stats().by_server) == [SERVER, OUTSIDE]
    await studio.purge(tenant)
    assert project.ref not in cloud.projects
    assert await studio.servers() == [SERVER]


async def test_a_project_stays_with_an_owner_who_takes_the_access_away(studio: Studio) -> None:
    theirs, tenant = studio.api.cloud.add_organization(), TenantId(new_id())
    config = await studio.add_account(tenant, theirs)
    await studio.finish(
        await studio.provisioning.start(studio.request(tenant, labels=own_labels(config)))
    )
    (project,) = [
        each for each in studio.api.cloud.projects.values() if each.organization is theirs
    ]
    theirs.tokens.clear()
    await studio.purge(tenant)
    assert project.ref in studio.api.cloud.projects
    assert await studio.servers() == [SERVER]
    studio.api.cloud.delete(project.ref)


async def test_an_account_that_was_not_used_is_forgotten_once_nothing_can_be_left_in_it(
    studio: Studio,
) -> None:
    theirs, tenant = studio.api.cloud.add_organization(projects_max=0), TenantId(new_id())
    config = await studio.add_account(tenant, theirs)
    request = studio.request(tenant, labels=own_labels(config))
    ended = await studio.finish(await studio.provisioning.start(request))
    assert ended.state is JobState.FAILED
    assert await studio.servers() == sorted([SERVER, own_server(tenant, config, b"").name])
    # Asked for without the account, it goes to the platform's.
    async with studio.registry.transaction(SERVICE) as tx:
        await drain_reserved(tx, tenant)
    again = await studio.finish(await studio.provisioning.start(studio.request(tenant)))
    assert (again.state, again.server) == (JobState.ACTIVE, SERVER)
    await studio.provisioning.runner.sweep(ended)
    await studio.purge(tenant)
    assert await studio.servers() == [SERVER]


async def test_an_account_of_a_failed_job_is_forgotten_when_it_is_swept(studio: Studio) -> None:
    theirs, tenant = studio.api.cloud.add_organization(projects_max=0), TenantId(new_id())
    config = await studio.add_account(tenant, theirs)
    request = studio.request(tenant, labels=own_labels(config))
    ended = await studio.finish(await studio.provisioning.start(request))
    await studio.provisioning.runner.sweep(ended)
    assert await studio.servers() == [SERVER]
