"""The description at the root tells each role what it may use."""

import json
from dataclasses import replace
from typing import Any

import httpx
import pytest
from tests.integration.gateway.rest.library import CONFIG, Library

from bulkhead.engine.connections.claims import ANON, SERVICE, Claims
from bulkhead.gateway.rest.app import RestGateway
from bulkhead.gateway.rest.config import OpenApiMode, RestConfig


async def describe(
    library: Library, claims: Claims = ANON, config: RestConfig = CONFIG, **headers: str
) -> httpx.Response:
    gateway = RestGateway(library.database, config, lambda _: claims)
    transport = httpx.ASGITransport(app=gateway)
    async with httpx.AsyncClient(transport=transport, base_url="http://library:81") as client:
        return await client.get("/", headers=headers)


@pytest.fixture(autouse=True, scope="module")
async def rights(library: Library) -> None:
    await library.admin.execute(
        "grant usage on schema api to anon, service_role;"
        "grant select (id) on api.subjects to anon;"
        "revoke execute on function api.whole(json), api.as_size() from public;"
        "grant execute on function api.as_size() to anon;"
        "grant all on all tables in schema api to service_role"
    )


async def paths(library: Library, claims: Claims, config: RestConfig = CONFIG) -> Any:
    return (await describe(library, claims, config)).json()["paths"]


async def test_only_what_the_role_may_use_is_described(library: Library) -> None:
    seen = set(await paths(library, ANON))
    assert {path for path in seen if not path.startswith("/rpc/")} == {"/", "/subjects"}
    assert "/rpc/as_size" in seen
    assert "/rpc/whole" not in seen
    assert {"/books", "/catalogue"} <= set(await paths(library, SERVICE))


async def test_everything_is_described_where_rights_are_ignored(library: Library) -> None:
    config = replace(CONFIG, openapi_mode=OpenApiMode.IGNORE_PRIVILEGES)
    assert {"/books", "/rpc/find"} <= set(await paths(library, ANON, config))


async def test_the_comment_of_the_schema_is_its_title(library: Library) -> None:
    described = (await describe(library)).json()
    assert described["info"]["title"] == "The library"
    assert described["info"]["description"] == "What may be borrowed."
    assert described["host"] == "library:81"


async def test_the_address_is_the_configured_one(library: Library) -> None:
    config = replace(CONFIG, openapi_server_proxy_uri="https://shop.example/a/b/rest/v1")
    described = (await describe(library, config=config)).json()
    assert described["schemes"] == ["https"]
    assert (described["host"], described["basePath"]) == ("shop.example:443", "/a/b/rest/v1")


async def test_references_of_the_description_lead_somewhere(library: Library) -> None:
    described = (await describe(library, SERVICE)).json()
    text = json.dumps(described)
    for part in text.split('"$ref": "#/')[1:]:
        kind, _, name = part.partition('"')[0].partition("/")
        assert name in described[kind]


@pytest.mark.parametrize(("accept", "status"), [("text/csv", 406), ("application/json", 200)])
async def test_it_is_json_only(library: Library, accept: str, status: int) -> None:
    answer = await describe(library, accept=accept)
    assert answer.status_code == status


async def test_it_may_be_switched_off(library: Library) -> None:
    config = replace(CONFIG, openapi_mode=OpenApiMode.DISABLED)
    answer = await describe(library, config=config)
    assert (answer.status_code, answer.json()["code"]) == (404, "PGRST126")
