"""The Management API's client against each thing that can go wrong between here and there."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from supabase_api import Fault, SupabaseApi
from supabase_cloud import Organization, Project
from tests.integration.engine.drivers.supabase_subject import PATIENCE, account_of
from tests.integration.engine.egress.web_server import Reader, Writer, web_server

from bulkhead.engine.drivers.secret import SecretText
from bulkhead.engine.drivers.supabase_api import (
    ManagementApi,
    ProjectUnknown,
    RateLimited,
    RequestRefused,
    SupabaseUnavailable,
    TokenRefused,
    verify_account,
)
from bulkhead.engine.egress import Egress
from bulkhead.engine.egress.address import LOOPBACK
from bulkhead.engine.egress.request import AnswerUnusable, Bounds
from bulkhead.engine.errors import BulkheadError, Invalid

LIST = "/v1/organizations/.*/projects"
TOKEN = SecretText("sbp_cafe0000000000000000000000000000000000ff")


@pytest.fixture
def organization(supabase_api: SupabaseApi) -> Organization:
    return supabase_api.cloud.add_organization()


@pytest.fixture
def api(supabase_api: SupabaseApi, organization: Organization) -> ManagementApi:
    supabase_api.requests.clear()
    supabase_api.rules.clear()
    return ManagementApi(
        Egress(LOOPBACK), account_of(organization).token, supabase_api.url, PATIENCE
    )


@pytest.fixture
async def project(supabase_api: SupabaseApi, organization: Organization) -> AsyncIterator[Project]:
    made = await supabase_api.cloud.make_project(organization, "theirs", "a long password")
    yield made
    supabase_api.cloud.delete(made.ref)


async def test_what_a_project_has_is_read(api: ManagementApi, project: Project) -> None:
    found = await api.get_project(project.ref)
    assert (found.ref, found.name, found.status) == (project.ref, "theirs", "ACTIVE_HEALTHY")
    assert [each.ref for each in await api.find_projects(project.organization.slug, "the")] == [
        project.ref
    ]
    assert await api.find_projects(project.organization.slug, "nobody") == []
    keys = await api.list_keys(project.ref)
    assert keys["service_role"].reveal().startswith("eyJ")
    assert "eyJ" not in repr(keys)
    pooler = await api.get_pooler(project.ref)
    assert (pooler.user, pooler.port, pooler.is_transaction) == (
        f"postgres.{project.ref}", 6543, True,
    )  # fmt: skip
    assert await api.get_health(project.ref) == {"db": "ACTIVE_HEALTHY"}
    assert await api.query(project.ref, "select 1 as one") == [{"one": 1}]
    with pytest.raises(RequestRefused, match="syntax error"):
        await api.query(project.ref, "selec 1")


async def test_more_than_a_page_of_projects_is_read_to_its_end(
    supabase_api: SupabaseApi, api: ManagementApi, organization: Organization
) -> None:
    for number in range(230):
        supabase_api.cloud._add(organization, f"many-{number:03}", "eu-central-1")
    try:
        found = await api.find_projects(organization.slug, "many-")
        assert len({each.ref for each in found}) == 230
        assert supabase_api.count("GET", LIST) == 3
    finally:
        for each in [*supabase_api.cloud.projects.values()]:
            if each.name.startswith("many-"):
                del supabase_api.cloud.projects[each.ref]


@pytest.mark.parametrize("fault", [Fault.ERROR, Fault.CUT, Fault.LOST])
async def test_what_only_reads_is_repeated(
    supabase_api: SupabaseApi, api: ManagementApi, fault: Fault
) -> None:
    supabase_api.fail("GET", "organizations$", fault, times=2)
    assert len(await api.list_organizations()) == 1
    assert len(supabase_api.requests) == 3


@pytest.mark.parametrize(
    ("fault", "error"),
    [(Fault.ERROR, SupabaseUnavailable), (Fault.CUT, AnswerUnusable)],
)
async def test_what_fails_again_and_again_is_given_up(
    supabase_api: SupabaseApi, api: ManagementApi, fault: Fault, error: type[BulkheadError]
) -> None:
    supabase_api.fail("GET", "organizations$", fault, times=99)
    with pytest.raises(error):
        await api.list_organizations()
    assert len(supabase_api.requests) == PATIENCE.tries


@pytest.mark.parametrize("fault", [Fault.GARBAGE, Fault.STRANGE])
async def test_an_answer_that_is_not_as_described_is_of_no_use(
    supabase_api: SupabaseApi, api: ManagementApi, project: Project, fault: Fault
) -> None:
    for path, call in (
        ("organizations$", api.list_organizations()),
        (LIST, api.find_projects(project.organization.slug, "the")),
        (project.ref, api.get_project(project.ref)),
        ("api-keys", api.list_keys(project.ref)),
        ("pooler", api.get_pooler(project.ref)),
        ("health", api.get_health(project.ref)),
    ):
        supabase_api.rules.clear()
        supabase_api.fail("GET", path, fault, times=PATIENCE.tries)
        with pytest.raises(AnswerUnusable):
            await call


async def test_no_answer_is_waited_for_no_longer_than_it_is_worth(
    supabase_api: SupabaseApi, api: ManagementApi
) -> None:
    supabase_api.fail("GET", "organizations$", Fault.HANG, times=99)
    hasty = replace(api, patience=replace(PATIENCE, bounds=Bounds(timeout_s=0.2), tries=2))
    with pytest.raises(AnswerUnusable, match=r"not complete within 0\.2 s"):
        await hasty.list_organizations()


async def test_a_rate_limit_that_is_soon_over_is_waited_for(
    supabase_api: SupabaseApi, api: ManagementApi, project: Project
) -> None:
    supabase_api.fail("GET", "organizations$", Fault.THROTTLE)
    assert len(await api.list_organizations()) == 1
    # Nothing was done, so that even this may be sent again.
    supabase_api.fail("POST", "query$", Fault.THROTTLE)
    assert await api.query(project.ref, "select 2 as two") == [{"two": 2}]


async def test_a_rate_limit_that_lasts_is_told_with_its_end() -> None:
    async def refuse(reader: Reader, writer: Writer) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 429 No\r\nx-ratelimit-reset: 55\r\ncontent-length: 0\r\n\r\n")

    async with web_server(refuse) as port:
        api = ManagementApi(Egress(LOOPBACK), TOKEN, f"http://127.0.0.1:{port}", PATIENCE)
        with pytest.raises(RateLimited, match="55 s"):
            await api.list_organizations()


async def test_a_token_and_a_project_that_are_refused_have_codes(
    supabase_api: SupabaseApi, api: ManagementApi, project: Project
) -> None:
    stranger = replace(api, token=TOKEN)
    with pytest.raises(TokenRefused) as caught:
        await stranger.get_project(project.ref)
    assert (caught.value.code, caught.value.status) == ("supabase_token_refused", 403)
    assert "cafe" not in repr(stranger) + caught.value.message + str(caught.value.to_json())
    for ref in ("a" * 20, "short", "../../organizations", "A" * 20, "a" * 20 + "?x=1", ""):
        with pytest.raises(ProjectUnknown):
            await api.get_project(ref)
    await api.delete_project("b" * 20)  # Nothing is left to delete.


async def test_what_the_api_says_is_shown_without_the_token_or_control_characters() -> None:
    async def refuse(reader: Reader, writer: Writer) -> None:
        await reader.readuntil(b"\r\n\r\n")
        text = f'{{"message": "no \\u001b[31m {TOKEN.reveal()} {"x" * 5000}"}}'.encode()
        head = f"HTTP/1.1 422 No\r\ncontent-length: {len(text)}\r\n\r\n".encode()
        writer.write(head + text)

    async with web_server(refuse) as port:
        api = ManagementApi(Egress(LOOPBACK), TOKEN, f"http://127.0.0.1:{port}", PATIENCE)
        with pytest.raises(RequestRefused) as caught:
            await api.list_organizations()
    assert "cafe" not in caught.value.message
    assert "\x1b" not in caught.value.message
    assert len(caught.value.message) < 400


async def test_the_api_is_reached_through_the_guard_only(api: ManagementApi) -> None:
    with pytest.raises(SupabaseUnavailable, match="does not lead to a public address"):
        await replace(api, egress=Egress()).list_organizations()
    with pytest.raises(SupabaseUnavailable, match="https://"):
        await replace(api, egress=Egress(), url="http://8.8.8.8:443").list_organizations()


@pytest.mark.parametrize(
    ("organization", "region"),
    [("", "eu"), ("a/b", "eu"), ("ä", "eu"), ("a" * 101, "eu"), ("acme", ""), ("acme", "EU west")],
)
def test_an_account_that_cannot_be_is_refused(organization: str, region: str) -> None:
    with pytest.raises(Invalid):
        verify_account(organization, region)
