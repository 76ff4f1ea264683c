"""Names with everything in them that could be taken for something else."""

from collections.abc import AsyncIterator

import httpx
import pytest
from tests.integration.gateway.rest.library import Library, open_library

from bulkhead.engine.connections.claims import ANON
from bulkhead.engine.connections.sql import identifier
from bulkhead.engine.testing import TestServers
from bulkhead.gateway.rest.app import RestGateway
from bulkhead.gateway.rest.config import RestConfig
from bulkhead.gateway.rest.schema import Cardinality, Name, Relationship

SCHEMA = 'Sch"e.ma'
HOSTILE = [
    'quote"inside',
    "apostrophe's",
    "dot.inside",
    "space inside",
    "comma,inside",
    "(parentheses)",
    "{braces}",
    "back\\slash",
    "back\\",
    "\\{not\\}",
    "double--dash; drop",
    "$1",
    "%s",
    ":resno 1 :resorigtbl 2 :resorigcol 3",
    "<>",
    "zażółć",
    "テーブル",
    "🐘",
    "x" * 63,
    "ü" * 31,
    "UPPER",
    "select",
    "null",
]

ECHO = "returns text language sql stable as 'select $1'"


def script() -> str:
    """A table, a view of it, a view of that, and a table that refers to it, for each name."""
    schema = identifier(SCHEMA)
    parts = [f"create schema {schema}; grant usage on schema {schema} to anon"]
    for number, name in enumerate(HOSTILE):
        quoted = identifier(name)
        table, view, above, child = (
            f"{schema}.{each}"
            for each in (quoted, f'"view {number}"', f'"above {number}"', f'"child {number}"')
        )
        parts += [
            f"create table {table} (id integer primary key, {quoted} text)",
            f"comment on column {table}.{quoted} is 'column {number}'",
            f"insert into {table} values (1, 'one')",
            f"create view {view} as select id as {quoted}, {quoted} as other from {table}",
            f"create view {above} as select {quoted} as key from (table {view}) {quoted}",
            f"create table {child} ({quoted} integer constraint {quoted} references {table})",
            f"insert into {child} values (1)",
            f'create function {schema}."call {number}"({quoted} text) {ECHO}',
        ]
    parts += [
        f"grant all on all tables in schema {schema} to anon",
        f"grant execute on all functions in schema {schema} to anon",
    ]
    return ";\n".join(parts)


@pytest.fixture(scope="module")
async def named(servers: TestServers) -> AsyncIterator[Library]:
    async with open_library(await servers.driver("shared"), "named", script()) as library:
        yield library


CONFIG = RestConfig(schemas=(SCHEMA,), extra_search_path=())


async def test_every_name_is_known_as_it_is(named: Library) -> None:
    schema = await named.load(CONFIG)
    for number, name in enumerate(HOSTILE):
        table = schema.tables[Name(SCHEMA, name)]
        assert table.columns[name].description == f"column {number}"
        [call] = schema.functions[Name(SCHEMA, f"call {number}")]
        assert [each.name for each in call.parameters] == [name]


async def test_keys_and_relationships_are_found_through_every_name(named: Library) -> None:
    schema = await named.load(CONFIG)
    for number, name in enumerate(HOSTILE):
        view, above, child = (
            Name(SCHEMA, f"{kind} {number}") for kind in ("view", "above", "child")
        )
        assert schema.tables[view].primary_key == (name,)
        assert schema.tables[above].primary_key == ("key",)
        ways = {
            (each.target, each.columns)
            for each in schema.relationships[child, SCHEMA]
            if isinstance(each, Relationship)
            and each.cardinality is Cardinality.MANY_TO_ONE
            and each.constraint == name
        }
        assert ways == {
            (Name(SCHEMA, name), ((name, "id"),)),
            (view, ((name, name),)),
            (above, ((name, "key"),)),
        }


async def test_tables_of_every_name_can_be_read_and_described(named: Library) -> None:
    gateway = RestGateway(named.database, CONFIG, lambda _: ANON)
    await gateway.start()
    transport = httpx.ASGITransport(app=gateway)
    async with httpx.AsyncClient(transport=transport, base_url="http://named") as client:
        described = (await client.get("/")).json()
        for number, name in enumerate(HOSTILE):
            quoted = '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'
            select = f"it:{quoted},way:{quoted}(id)"
            answer = await client.get(f"/child {number}", params={"select": select})
            assert answer.json() == [{"it": 1, "way": {"id": 1}}], name
            assert f"/{name}" in described["paths"]
            assert name in described["definitions"][name]["properties"]
    await gateway.close()
