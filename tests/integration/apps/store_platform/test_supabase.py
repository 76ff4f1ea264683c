"""Stores whose databases are Supabase projects: the platform's, their owners', and found ones."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from supabase_api import Fault, SupabaseApi, open_cloud
from supabase_cloud import Organization, Project
from supabase_projects import ABSENT, can_listen
from tests.integration.apps.store_platform.platform import Caller, Site, open_site
from tests.integration.engine.drivers.supabase_subject import REGION, access_to

from bulkhead.apps.store_platform.accounts import find_project
from bulkhead.apps.store_platform.fleet import DatabaseBody
from bulkhead.apps.store_platform.jobs import purge_deleted
from bulkhead.engine.clock import now
from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.drivers.secret import SecretText
from bulkhead.engine.fleet.model import ServerKind, TenantId
from bulkhead.engine.fleet.registry import ServerEntry, add_server, get_tenant
from bulkhead.engine.fleet.supabase import account_config
from bulkhead.engine.testing import TestServers

SUPABASE = {"databaseType": "supabase-database"}
HURRY = "update bulkhead.provisioning_jobs set due_at = 'epoch' where finished_at is null"


@pytest.fixture(scope="module")
async def api() -> AsyncIterator[SupabaseApi]:
    if not can_listen():
        pytest.skip(ABSENT)
    async with open_cloud() as api:
        yield api
        assert api.complaints == []


@pytest.fixture(scope="module")
def platform_organization(api: SupabaseApi) -> Organization:
    return api.cloud.add_organization()


@pytest.fixture(scope="module")
async def site(
    servers: TestServers,
    tmp_path_factory: pytest.TempPathFactory,
    api: SupabaseApi,
    platform_organization: Organization,
) -> AsyncIterator[Site]:
    access = replace(access_to(api), poll_s=60.0)
    home: Path = tmp_path_factory.mktemp("home")
    async with open_site(servers, home, access) as site:
        seals, slug = site.platform.databases.seals, platform_organization.slug
        config = account_config(access, token_of(platform_organization), slug, REGION)
        sealed = await seals.seal_endpoint("cloud", config)
        entry = ServerEntry("cloud", ServerKind.SUPABASE, slug, 100, sealed_endpoint=sealed)
        async with site.platform.master.transaction(SERVICE) as tx:
            await add_server(tx, entry)
        yield site


@pytest.fixture
async def owner(site: Site, api: SupabaseApi) -> Caller:
    api.rules.clear()
    return await site.caller()


@pytest.fixture
def theirs(api: SupabaseApi) -> Organization:
    return api.cloud.add_organization()


def token_of(organization: Organization) -> SecretText:
    return SecretText(next(iter(organization.tokens)))


def projects_of(api: SupabaseApi, organization: Organization) -> list[Project]:
    return [each for each in api.cloud.projects.values() if each.organization is organization]


def with_account(store: UUID, organization: Organization, **others: Any) -> dict[str, Any]:
    token = token_of(organization).reveal()
    return {"storeId": str(store), **SUPABASE, "config": {"accessToken": token, **others}}


async def follow(site: Site, owner: Caller, job: str) -> dict[str, Any]:
    """Work until the job has ended; its status."""
    async with asyncio.timeout(60):
        while True:
            await site.platform.provisioning.run_once()
            status: dict[str, Any] = await owner.get(f"/provision/{job}/status")
            if status["status"] not in {"provisioning", "undoing"}:
                return status
            await site.value(HURRY)


async def purge(site: Site, store: UUID, owner: Caller) -> None:
    await site.platform.lifecycle.delete(TenantId(store), grace_s=0)
    await owner.send("DELETE", f"/stores/{store}")
    await site.value("update bulkhead.fleet_deletions set purge_at = now() - interval '1 hour'")
    await purge_deleted(site.system)


async def test_a_store_gets_a_project_of_the_platform_and_takes_it_with_it(
    site: Site, owner: Caller, api: SupabaseApi, platform_organization: Organization
) -> None:
    store = await owner.make_store()
    started = await owner.post("/provision", {"storeId": str(store), **SUPABASE})
    await site.platform.provisioning.run_once()
    status = await owner.get(f"/provision/{started['jobId']}/status")
    assert status["status"] == "provisioning"
    assert status["message"] == "Creating the Supabase project: COMING_UP"
    assert (await follow(site, owner, started["jobId"]))["status"] == "active"
    product = {"sku": "a-1", "name": "Chair", "slug": "chair"}
    await owner.post(f"/stores/{store}/products", product)
    assert len((await owner.get(f"/stores/{store}/products"))["products"]) == 1
    assert (await owner.get(f"/stores/{store}"))["database_type"] == "supabase-database"
    assert len(projects_of(api, platform_organization)) == 1
    await purge(site, store, owner)
    assert projects_of(api, platform_organization) == []


async def test_a_store_gets_a_project_in_its_owner_s_account(
    site: Site, owner: Caller, api: SupabaseApi, theirs: Organization
) -> None:
    store = await owner.make_store()
    body = with_account(store, theirs, region="ap-south-1")
    job = (await owner.post("/provision", body))["jobId"]
    token = token_of(theirs).reveal()
    sealed = await site.value(
        "select sealed_endpoint from bulkhead.fleet_servers where reserved_for = $1", store
    )
    assert token.encode() not in sealed
    status = await follow(site, owner, job)
    assert status["status"] == "active", status
    (project,) = projects_of(api, theirs)
    assert project.region == "ap-south-1"
    assert (await owner.get(f"/stores/{store}/products"))["products"] == []
    for shown in (status, await owner.get(f"/stores/{store}")):
        assert token not in json.dumps(shown)
    assert (await owner.post("/provision", body))["jobId"] == job
    await purge(site, store, owner)
    assert projects_of(api, theirs) == []
    left = "select count(*) from bulkhead.fleet_servers where reserved_for = $1"
    assert await site.value(left, store) == 0


async def test_many_requests_for_one_store_make_one_project(
    site: Site, owner: Caller, api: SupabaseApi, theirs: Organization
) -> None:
    store = await owner.make_store()
    body = with_account(store, theirs, organizationSlug=theirs.slug)
    tasks = [asyncio.create_task(owner.post("/provision", body)) for _ in range(20)]
    await asyncio.wait(tasks)
    assert len({task.result()["jobId"] for task in tasks}) == 1
    assert (await follow(site, owner, tasks[0].result()["jobId"]))["status"] == "active"
    assert len(projects_of(api, theirs)) == 1


async def test_a_project_that_is_coming_up_can_be_cancelled(
    site: Site, owner: Caller, api: SupabaseApi, theirs: Organization
) -> None:
    store = await owner.make_store()
    job = (await owner.post("/provision", with_account(store, theirs)))["jobId"]
    await site.platform.provisioning.run_once()
    assert len(projects_of(api, theirs)) == 1
    await owner.post(f"/provision/{job}/cancel")
    assert (await follow(site, owner, job))["status"] == "cancelled"
    assert projects_of(api, theirs) == []
    plain = await owner.post("/provision", {"storeId": str(store)})
    assert (await follow(site, owner, plain["jobId"]))["status"] == "active"


async def test_a_wrong_token_is_told_at_once_and_nothing_is_kept(
    site: Site, owner: Caller, api: SupabaseApi, theirs: Organization
) -> None:
    store = await owner.make_store()
    wrong = {"accessToken": "sbp_canary000000000000000000000000000000", "region": REGION}
    body = {"storeId": str(store), **SUPABASE, "config": wrong}
    answer = await owner.send("POST", "/provision", body)
    assert (answer.status_code, answer.json()["code"]) == (403, "supabase_token_refused")
    assert answer.json()["hint"]
    assert "canary" not in answer.text
    reserved = "select count(*) from bulkhead.fleet_servers where reserved_for = $1"
    assert await site.value(reserved, store) == 0
    jobs = "select count(*) from bulkhead.provisioning_jobs where tenant = $1"
    assert await site.value(jobs, store) == 0
    body = with_account(store, theirs, organizationSlug="another-one")
    assert await owner.refused("POST", "/provision", body) == (
        404, "supabase_organization_unknown",
    )  # fmt: skip
    # The token leads to two organizations, and none is named.
    second = api.cloud.add_organization()
    second.tokens |= theirs.tokens
    body = with_account(store, theirs)
    assert await owner.refused("POST", "/provision", body) == (422, "invalid")


async def test_a_token_that_is_taken_away_meanwhile_ends_the_job(
    site: Site, owner: Caller, api: SupabaseApi, theirs: Organization
) -> None:
    store = await owner.make_store()
    job = (await owner.post("/provision", with_account(store, theirs)))["jobId"]
    theirs.tokens.clear()
    status = await follow(site, owner, job)
    assert (status["status"], status["error"]["code"]) == ("failed", "supabase_token_refused")
    assert projects_of(api, theirs) == []


async def test_a_quota_is_told_to_the_owner(
    site: Site, owner: Caller, theirs: Organization
) -> None:
    theirs.projects_max = 0
    store = await owner.make_store()
    job = (await owner.post("/provision", with_account(store, theirs)))["jobId"]
    status = await follow(site, owner, job)
    assert (status["status"], status["error"]["code"]) == ("failed", "supabase_request_refused")
    assert "maximum number of projects" in status["message"]
    assert (await owner.get(f"/stores/{store}"))["database_status"] == "failed"


async def test_without_an_organization_of_the_platform_an_account_is_asked_for(
    site: Site, owner: Caller
) -> None:
    store = await owner.make_store()
    drain = "update bulkhead.fleet_servers set draining_at = $1::timestamptz where name = 'cloud'"
    await site.value(drain, now())
    try:
        answer = await owner.send("POST", "/provision", {"storeId": str(store), **SUPABASE})
    finally:
        await site.value(drain, None)
    assert (answer.status_code, answer.json()["code"]) == (422, "supabase_account_needed")
    assert "accessToken" in answer.json()["hint"]
    assert (await owner.get(f"/stores/{store}"))["database_status"] == "none"


async def test_an_api_that_is_away_is_said_to_be_so(
    site: Site, owner: Caller, api: SupabaseApi, theirs: Organization
) -> None:
    store = await owner.make_store()
    api.fail("GET", "organizations$", Fault.ERROR, times=9)
    answer = await owner.send("POST", "/provision", with_account(store, theirs))
    assert (answer.status_code, answer.json()["code"]) == (503, "supabase_unavailable")
    assert answer.headers["retry-after"]


async def test_a_project_that_its_owner_has_is_found_by_token_and_opened_by_password(
    site: Site, owner: Caller, api: SupabaseApi, theirs: Organization
) -> None:
    project = await api.cloud.make_project(theirs, "my own", "correct horse battery")
    store = await owner.make_store()
    port = api.cloud.machines.port
    place: dict[str, Any] = {"projectUrl": f"https://{project.ref}.supabase.co", "port": port}
    place["tls"] = "disable"
    body = with_account(store, theirs, **place)
    answer = await owner.send("POST", "/provision", body)
    assert (answer.status_code, answer.json()["code"]) == (422, "supabase_password_needed")
    assert f"project/{project.ref}/database/settings" in answer.json()["hint"]
    body = with_account(store, theirs, **place, password="correct horse battery")  # noqa: S106
    job = (await owner.post("/provision", body))["jobId"]
    assert (await follow(site, owner, job))["status"] == "active"
    async with site.platform.master.transaction(SERVICE) as tx:
        row = await get_tenant(tx, TenantId(store))
    assert row.place.sealed_connection is not None
    seals = site.platform.databases.seals
    config = await seals.open_connection(row.id, row.place.sealed_connection)
    assert config.service_role_key is not None
    assert config.service_role_key.reveal() == f"eyJ.service_role.{project.ref}"
    assert token_of(theirs).reveal().encode() not in config.to_bytes()
    assert config.ca_pem is not None
    assert "BEGIN CERTIFICATE" in config.ca_pem
    await purge(site, store, owner)
    assert project.ref in api.cloud.projects
    body = with_account(store, theirs, projectUrl=f"https://{'x' * 20}.supabase.co")
    store = await owner.make_store()
    assert await owner.refused("POST", "/provision", {**body, "storeId": str(store)}) == (
        404, "supabase_project_unknown",
    )  # fmt: skip


async def test_a_project_behind_its_pooler_is_found_with_the_address_of_that(
    site: Site, api: SupabaseApi, theirs: Organization
) -> None:
    project = await api.cloud.make_project(theirs, "my own", "correct horse battery")
    given = {
        "projectUrl": f"https://{project.ref}.supabase.co",
        "accessToken": token_of(theirs).reveal(),
        "password": "correct horse battery",
        "pooled": True,
    }
    config = await find_project(site.platform.supabase, DatabaseBody.model_validate(given))
    host = f"aws-0-{REGION}.pooler.supabase.com"
    assert (config.host, config.port, config.username) == (host, 6543, f"postgres.{project.ref}")
    assert config.ca_pem is not None


async def test_a_token_is_tried_without_a_trace(
    site: Site, owner: Caller, api: SupabaseApi, theirs: Organization
) -> None:
    body = {**SUPABASE, "config": {"accessToken": token_of(theirs).reveal()}}
    told = await owner.post("/provision/test", body)
    assert told == {
        "success": True,
        "message": "The access token works",
        "organizationSlug": theirs.slug,
        "region": REGION,
    }
    assert projects_of(api, theirs) == []
    body["config"] = {"accessToken": "sbp_nobody"}
    assert await owner.refused("POST", "/provision/test", body) == (403, "supabase_token_refused")


@pytest.mark.parametrize(
    ("config", "others"),
    [
        ({"region": "EU west"}, {}),
        ({"organizationSlug": "../admin"}, {}),
        ({"projectUrl": "https://evil.example"}, {}),
        ({"projectUrl": "https://a.b.supabase.co"}, {}),
        ({}, {"labels": {"region": "eu"}}),
        ({}, {"databaseType": "mysql"}),
        ({"password": "x" * 5000}, {}),
        ({"unheardOf": 1}, {}),
    ],
)
async def test_what_cannot_be_meant_is_refused(
    owner: Caller, theirs: Organization, config: dict[str, Any], others: dict[str, Any]
) -> None:
    store = await owner.make_store()
    body = {**with_account(store, theirs, **config), **others}
    answer = await owner.send("POST", "/provision", body)
    assert answer.status_code == 422, answer.text
    assert token_of(theirs).reveal() not in answer.text


async def test_an_account_of_somebody_else_s_store_is_not_to_be_had(
    site: Site, owner: Caller, theirs: Organization
) -> None:
    store = await owner.make_store()
    stranger = await site.caller()
    assert (await stranger.refused("POST", "/provision", with_account(store, theirs)))[0] == 404
