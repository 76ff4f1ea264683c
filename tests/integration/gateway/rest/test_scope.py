"""What SQL sees of the request that runs it."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bulkhead.engine.application import Application
from bulkhead.engine.connections.claims import ANON
from bulkhead.engine.connections.database import OpenDatabase
from bulkhead.engine.testing import TestServers
from bulkhead.engine.topology import Database, Table, Topology
from bulkhead.gateway.rest.config import RestConfig
from bulkhead.gateway.rest.query import Query
from bulkhead.gateway.rest.request import Action, ApiRequest, Preferences
from bulkhead.gateway.rest.schema import Schema
from bulkhead.gateway.rest.scope import render_scope

HERE = Path(__file__).parents[2] / "engine" / "connections" / "notes"
NOTES = Application(
    "notes", "Notes", Topology("notes", (Database("notes", (Table("notes"),), HERE),))
)
CONFIG = RestConfig(
    app_settings=(("app.settings.jwt_secret", "it's a 'secret'"),),
    extra_search_path=("public", "extensions"),
    statement_timeout_s={"anon": 3},
)

text = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))


@pytest.fixture(scope="module")
async def notes(servers: TestServers) -> AsyncIterator[OpenDatabase]:
    async with servers.system(NOTES) as system:
        yield system.database("notes")


async def look(database: OpenDatabase, first: str, *names: str) -> list[str | None]:
    async with database.transaction(ANON, read_only=True, first=first) as tx:
        row = await tx.fetchrow(
            f"select {', '.join(f'current_setting(${n})' for n in range(1, len(names) + 1))}",
            *names,
        )
    assert row is not None
    return list(row)


def schema(*role_settings: tuple[str, str]) -> Schema:
    return Schema(1, {}, {}, {}, role_settings={"anon": role_settings})


def request(headers: tuple[tuple[str, str], ...] = (), path: str = "/a") -> ApiRequest:
    return ApiRequest(
        method="GET",
        path=path,
        action=Action.READ,
        schema='My "Schema"',
        resource="a",
        is_function=False,
        query=Query(),
        values=(),
        ranges={},
        preferences=Preferences(timezone="Asia/Tokyo"),
        accept=("*/*",),
        content_type="application/json",
        payload=None,
        columns=frozenset(),
        headers=headers,
    )


async def test_settings_are_there_as_they_were_given(notes: OpenDatabase) -> None:
    own = schema(("search_path", 'a, "B c"'), ("DateStyle", "ISO, DMY"), ("work_mem", "9MB"))
    first = render_scope(request(), "anon", own, CONFIG)
    names = ("search_path", "DateStyle", "work_mem", "app.settings.jwt_secret", "TimeZone")
    assert await look(notes, first, *names) == [
        'a, "B c"', "ISO, DMY", "9MB", "it's a 'secret'", "Asia/Tokyo"
    ]  # fmt: skip
    first = render_scope(request(), "anon", schema(), CONFIG)
    assert await look(notes, first, "search_path", "statement_timeout") == [
        '"My ""Schema""", public, extensions', "3s"
    ]  # fmt: skip


async def test_nothing_of_a_request_is_there_for_the_next_one(notes: OpenDatabase) -> None:
    await look(notes, render_scope(request(), "anon", schema(), CONFIG), "request.path")
    assert await look(notes, "", "TimeZone", "statement_timeout") != ["Asia/Tokyo", "3s"]


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(text, text, max_size=4), text)
async def test_headers_and_path_are_text_whatever_they_hold(
    notes: OpenDatabase, headers: dict[str, str], path: str
) -> None:
    first = render_scope(request(tuple(headers.items()), path), "anon", schema(), CONFIG)
    found_path, found_headers = await look(notes, first, "request.path", "request.headers")
    assert found_path == path
    assert json.loads(found_headers or "") == headers
