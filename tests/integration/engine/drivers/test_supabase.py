"""Projects made at every kind of failure: in the end there is one, or none, and never two."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterator
from dataclasses import replace

import pytest
from supabase_api import Fault
from supabase_cloud import Cloud
from supabase_pooler import open_pooler
from tests.integration.engine.drivers.subject import fresh_name
from tests.integration.engine.drivers.supabase_subject import (
    REGION,
    SupabaseSubject,
    access_to,
    account_of,
    fresh_driver,
    verify_one,
)
from tests.integration.engine.drivers.tls_server import TlsServer

from bulkhead.engine import failpoints
from bulkhead.engine.drivers.endpoint import Endpoint, Tls, open_connection
from bulkhead.engine.drivers.errors import (
    CapabilityMissing,
    DatabaseForeign,
    LoginRefused,
    ServerUnreachable,
    TlsRequired,
)
from bulkhead.engine.drivers.protocol import DatabaseSpec, Login, Provider
from bulkhead.engine.drivers.secret import SecretText
from bulkhead.engine.drivers.supabase import SupabaseDriver
from bulkhead.engine.drivers.supabase_api import (
    OrganizationUnknown,
    RequestRefused,
    SupabaseUnavailable,
    TokenRefused,
)
from bulkhead.engine.drivers.supabase_project import BEFORE_CREATE, DatabaseComing, ProjectFailed
from bulkhead.engine.egress import Egress
from bulkhead.engine.egress.address import LOOPBACK
from bulkhead.engine.egress.request import AnswerUnusable
from bulkhead.engine.testing import crash_at

POINTS = sorted(name for name in failpoints.registered() if name.startswith("supabase."))
DEADLINE_S = 30.0
WHILE_MADE = [point for point in POINTS if not point.endswith(":deleted")]


def test_a_driver_of_projects_is_a_provider(supabase: SupabaseSubject) -> None:
    assert isinstance(supabase.driver, Provider)


def test_every_registered_point_is_tried() -> None:
    assert len(POINTS) == 5


@pytest.mark.parametrize("point", WHILE_MADE)
async def test_a_crash_while_a_project_is_made(supabase: SupabaseSubject, point: str) -> None:
    spec = DatabaseSpec(fresh_name())
    with crash_at(point):
        await fresh_driver(supabase).ensure_database(spec)
    await fresh_driver(supabase).ensure_database(spec)
    await verify_one(supabase, spec)


@pytest.mark.parametrize("point", WHILE_MADE)
async def test_a_crash_and_then_a_drop_leaves_none(supabase: SupabaseSubject, point: str) -> None:
    spec = DatabaseSpec(fresh_name())
    with crash_at(point):
        await fresh_driver(supabase).ensure_database(spec)
    await fresh_driver(supabase).drop_database(spec)
    assert supabase.api.cloud.named(spec.name) == []


async def test_a_crash_after_a_project_was_deleted(supabase: SupabaseSubject) -> None:
    spec = DatabaseSpec(fresh_name())
    await supabase.driver.ensure_database(spec)
    with crash_at("supabase.project:deleted"):
        await supabase.driver.drop_database(spec)
    await fresh_driver(supabase).drop_database(spec)
    assert supabase.api.cloud.named(spec.name) == []


@pytest.mark.parametrize("fault", [Fault.LOST, Fault.GARBAGE, Fault.STRANGE])
async def test_a_project_whose_answer_was_lost_is_found_and_not_made_again(
    supabase: SupabaseSubject, fault: Fault
) -> None:
    spec = DatabaseSpec(fresh_name())
    supabase.api.fail("POST", "/v1/projects$", fault)
    with pytest.raises(AnswerUnusable):
        await fresh_driver(supabase).ensure_database(spec)
    assert len(supabase.api.cloud.named(spec.name)) == 1
    await fresh_driver(supabase).ensure_database(spec)
    await verify_one(supabase, spec)


@pytest.mark.parametrize("fault", [Fault.ERROR, Fault.CUT])
async def test_a_project_that_was_not_made_is_asked_for_once_and_no_more(
    supabase: SupabaseSubject, fault: Fault
) -> None:
    spec = DatabaseSpec(fresh_name())
    supabase.api.requests.clear()
    supabase.api.fail("POST", "/v1/projects$", fault)
    with pytest.raises((AnswerUnusable, SupabaseUnavailable)):
        await fresh_driver(supabase).ensure_database(spec)
    assert supabase.api.count("POST", "/v1/projects$") == 1
    assert supabase.api.cloud.named(spec.name) == []


async def test_two_processes_at_once_leave_one_project(supabase: SupabaseSubject) -> None:
    spec = DatabaseSpec(fresh_name())
    supabase.api.requests.clear()
    # The first one has found no project, and has still none made when another one has.
    failpoints.arm(BEFORE_CREATE, failpoints.Mode.STALL)
    tasks = [asyncio.create_task(fresh_driver(supabase).ensure_database(spec)) for _ in range(3)]
    try:
        async with asyncio.timeout(DEADLINE_S):
            while not supabase.api.count("POST", "/v1/projects$"):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
    finally:
        failpoints.disarm(BEFORE_CREATE)
        await asyncio.wait(tasks)
    assert supabase.api.count("POST", "/v1/projects$") > 1
    # Whoever worked on one that was deleted is told so, and tries again.
    assert any(task.exception() is None for task in tasks)
    await fresh_driver(supabase).ensure_database(spec)
    await verify_one(supabase, spec)


async def test_a_project_that_cannot_be_started_is_said_to_and_can_be_dropped(
    supabase: SupabaseSubject,
) -> None:
    spec = DatabaseSpec(fresh_name())
    supabase.api.cloud.outcome = "INIT_FAILED"
    try:
        with pytest.raises(ProjectFailed, match="INIT_FAILED"):
            await supabase.driver.ensure_database(spec)
    finally:
        supabase.api.cloud.outcome = "ACTIVE_HEALTHY"
    await supabase.driver.drop_database(spec)
    assert supabase.api.cloud.named(spec.name) == []


async def test_a_quota_is_told_in_supabase_s_own_words(supabase: SupabaseSubject) -> None:
    organization = supabase.api.cloud.add_organization(projects_max=0)
    driver = SupabaseDriver(
        access_to(supabase.api), account_of(organization), secrets.token_bytes(32)
    )
    with pytest.raises(RequestRefused, match="maximum number of projects"):
        await driver.ensure_database(DatabaseSpec(fresh_name()))


async def test_a_wrong_token_and_a_wrong_organization_are_told_apart(
    supabase: SupabaseSubject,
) -> None:
    account = account_of(supabase.organization)
    access = access_to(supabase.api)
    wrong = replace(account, token=SecretText("sbp_0000000000000000000000000000000000000000"))
    driver = SupabaseDriver(access, wrong, secrets.token_bytes(32))
    with pytest.raises(TokenRefused) as caught:
        await driver.start()
    assert "sbp_0" not in caught.value.message
    driver = SupabaseDriver(access, replace(account, organization="another"), b"s" * 32)
    with pytest.raises(OrganizationUnknown, match=supabase.organization.slug):
        await driver.start()
    with pytest.raises(TokenRefused):
        await driver.ensure_database(DatabaseSpec(fresh_name()))


async def test_a_project_is_served_without_the_api(supabase: SupabaseSubject) -> None:
    async with supabase.database() as spec:
        located = replace(spec, located=await supabase.driver.locate(spec))
        supabase.api.requests.clear()
        fresh = fresh_driver(supabase)
        connection = await fresh.connect(located, Login.SERVICE, timeout_s=10)
        await connection.close()
        assert fresh.server_of(located).startswith(f"db.{located.located}.supabase.co:")
        assert supabase.api.requests == []


async def test_each_project_is_a_server_of_its_own(supabase: SupabaseSubject) -> None:
    async with supabase.database() as one, supabase.database() as other:
        driver = supabase.driver
        assert driver.server_of(one) != driver.server_of(other)
        assert driver.server_of(DatabaseSpec("unmet")) == f"{driver.server}/unmet"


async def test_a_password_that_somebody_changed_is_set_again(supabase: SupabaseSubject) -> None:
    async with supabase.database() as spec:
        (project,) = supabase.api.cloud.named(spec.name)
        assert project.cluster is not None
        await project.cluster.set_password("set in the dashboard")
        with pytest.raises(LoginRefused):
            await supabase.driver.connect(spec, Login.ADMIN, timeout_s=10)
        async with supabase.opened(spec, Login.CLIENT):
            pass  # Whoever is served does not notice.
        await fresh_driver(supabase).ensure_database(spec)
        async with supabase.opened(spec, Login.ADMIN):
            pass


async def test_a_renamed_project_is_known_by_its_roles_and_anybody_elses_is_left(
    supabase: SupabaseSubject,
) -> None:
    spec = DatabaseSpec(fresh_name())
    await supabase.driver.ensure_database(spec)
    (project,) = supabase.api.cloud.named(spec.name)
    project.name = "Renamed in the dashboard"
    located = replace(spec, located=project.ref)
    theirs = await supabase.api.cloud.make_project(supabase.organization, "theirs", "their own")
    with pytest.raises(DatabaseForeign):
        await fresh_driver(supabase).drop_database(replace(spec, located=theirs.ref))
    await fresh_driver(supabase).drop_database(located)
    assert set(supabase.api.cloud.projects) & {project.ref, theirs.ref} == {theirs.ref}
    await fresh_driver(supabase).drop_database(located)
    supabase.api.cloud.delete(theirs.ref)


async def test_a_name_that_is_not_known_yet_is_waited_for(supabase: SupabaseSubject) -> None:
    async def nowhere(host: str, port: int) -> list[str]:
        if host.endswith(".supabase.co"):
            raise OSError(-2, "Name or service not known")
        return [host]

    access = replace(supabase.driver.access, egress=Egress(LOOPBACK, resolve=nowhere))
    driver = SupabaseDriver(access, supabase.driver.projects.account, supabase.driver._secret)
    spec = DatabaseSpec(fresh_name())
    with pytest.raises(DatabaseComing, match="cannot be reached yet"):
        await driver.ensure_database(spec)
    with pytest.raises(ServerUnreachable, match="leads nowhere"):
        await driver.connect(spec, Login.SERVICE, timeout_s=10)
    await supabase.driver.ensure_database(spec)
    await verify_one(supabase, spec)


async def test_a_database_that_offers_no_tls_is_refused_where_it_is_asked_for(
    supabase: SupabaseSubject,
) -> None:
    async with supabase.database() as spec:
        strict = replace(supabase.driver.access, tls=Tls.VERIFY_FULL)
        driver = SupabaseDriver(strict, supabase.driver.projects.account, supabase.driver._secret)
        with pytest.raises(TlsRequired):
            await driver.connect(spec, Login.SERVICE, timeout_s=10)
        url = driver.url(spec, Login.SERVICE)
        assert "sslmode=verify-full" in url
        assert "supabase_ca.pem" in url


async def test_a_schema_that_postgres_may_not_hand_on_is_said_to_be_so(
    supabase: SupabaseSubject,
) -> None:
    spec = DatabaseSpec(fresh_name())
    name, password = supabase.driver.projects.name(spec), supabase.driver.projects.password(spec)
    project = await supabase.api.cloud.make_project(supabase.organization, name, password.reveal())
    assert project.cluster is not None
    async with project.cluster.look() as admin:
        await admin.execute(
            "alter database postgres owner to supabase_admin; grant create on database postgres "
            "to postgres; alter schema public owner to supabase_admin"
        )
    with pytest.raises(CapabilityMissing, match="schema 'public'"):
        await supabase.driver.ensure_database(spec)
    await supabase.driver.drop_database(spec)


@pytest.fixture
def indirect(supabase: SupabaseSubject) -> Iterator[Cloud]:
    """The cloud while its projects cannot be reached at their own hosts."""
    supabase.api.cloud.is_direct = False
    yield supabase.api.cloud
    supabase.api.cloud.is_direct = True


async def test_a_project_that_cannot_be_reached_directly_is_reached_through_its_pooler(
    supabase: SupabaseSubject, indirect: Cloud
) -> None:
    spec, driver = DatabaseSpec(fresh_name()), fresh_driver(supabase)
    with pytest.raises(DatabaseComing, match="cannot be reached yet"):
        await driver.ensure_database(spec)  # There is no pooler either.
    async with open_pooler(indirect):
        await driver.ensure_database(spec)
        await driver.ensure_database(spec)
        located = await driver.locate(spec)
        (project,) = indirect.named(spec.name)
        assert located == f"{project.ref}@aws-0-{REGION}.pooler.supabase.com"
        supabase.api.requests.clear()
        fresh, there = fresh_driver(supabase), replace(spec, located=located)
        for login, role in (
            (Login.ADMIN, "postgres"),
            (Login.SERVICE, spec.login(Login.SERVICE)),
        ):
            connection = await fresh.connect(there, login, timeout_s=10)
            assert await connection.fetchval("select session_user") == role
            await connection.close()
        assert supabase.api.requests == []
        await fresh.drop_database(there)
    assert indirect.named(spec.name) == []


async def test_what_a_pooler_in_session_mode_leaves_of_a_database(
    supabase: SupabaseSubject, indirect: Cloud
) -> None:
    spec, driver = DatabaseSpec(fresh_name()), fresh_driver(supabase)
    async with open_pooler(indirect):
        await driver.ensure_database(spec)
        (project,) = indirect.named(spec.name)
        found = await driver.probe(spec)
        assert (found.listen_notify, found.set_role, found.advisory_locks) == (True, True, True)
        assert driver.server_of(spec).startswith(f"{project.ref}@aws-0-")
        assert f".{project.ref}:" in driver.url(spec, Login.SERVICE)
        await driver.seal_template(spec)
        with pytest.raises(ServerUnreachable, match="sealed"):
            await driver.connect(spec, Login.CLIENT, timeout_s=10)
        unknown = replace(spec, located=f"{'x' * 20}@aws-0-{REGION}.pooler.supabase.com")
        with pytest.raises(ServerUnreachable):
            await driver.connect(unknown, Login.SERVICE, timeout_s=10)
        await driver.drop_database(spec)


@pytest.mark.parametrize(
    "pooler", ["evil.example", "pooler.supabase.com.evil.example", "x.pooler.supabase.com:1", "@"]
)
async def test_a_pooler_of_somebody_else_is_not_connected_to(
    supabase: SupabaseSubject, pooler: str
) -> None:
    spec = DatabaseSpec(fresh_name(), located=f"{'a' * 20}@{pooler}")
    with pytest.raises(AnswerUnusable):
        await supabase.driver.connect(spec, Login.SERVICE, timeout_s=10)


async def test_a_certificate_is_verified_for_the_host_of_the_project(
    supabase: SupabaseSubject, tls_server: TlsServer
) -> None:
    """On a server with TLS: those of projects here have none."""
    spec = DatabaseSpec(fresh_name(), located="a" * 20)
    projects = supabase.driver.projects
    superuser = Endpoint(
        "localhost",
        tls_server.port,
        "postgres",
        tls_server.password,
        tls=Tls.VERIFY_FULL,
        ca_file=tls_server.ca_file,
    )
    admin = await open_connection(superuser, superuser.administrator(), timeout_s=10)
    here = replace(
        supabase.driver.access,
        host="localhost",
        port=tls_server.port,
        tls=Tls.VERIFY_FULL,
        ca_pem=tls_server.ca_file.read_text(),
    )
    try:
        await admin.execute(f"alter role postgres password '{projects.password(spec).reveal()}'")
        for access, works in (
            (here, True),
            (replace(here, ca_pem=None), False),  # Supabase's own has not signed it.
            (replace(here, host="127.0.0.1"), False),  # It is for another name.
        ):
            driver = SupabaseDriver(access, projects.account, supabase.driver._secret)
            if works:
                connection = await driver.connect(spec, Login.ADMIN, timeout_s=10)
                await connection.close()
                continue
            with pytest.raises(TlsRequired):
                await driver.connect(spec, Login.ADMIN, timeout_s=10)
    finally:
        await admin.execute(f"alter role postgres password '{tls_server.password}'")
        await admin.close()
