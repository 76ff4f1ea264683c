"""Whatever a request asks for, it gets no row that its role does not see, and never a 5xx."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.integration.apps.commerce.probe_samples import SAMPLES
from tests.integration.gateway.rest.probes import ProbeGateway, prepared
from tests.scenarios.effort import EFFORT

from bulkhead.apps.commerce.application import APPLICATION
from bulkhead.apps.commerce.topology import TOPOLOGY
from bulkhead.engine.connections.admin import administer
from bulkhead.engine.connections.sql import identifier, literal
from bulkhead.engine.schema.probes.actors import ACTORS, ProbeActor
from bulkhead.engine.testing import TestServers
from bulkhead.gateway.rest.schema import Name, Relationship, Schema

CLIENTS = [actor for actor in ACTORS if actor.role != "service_role"]
VALUES = ("1", "x", "{a,b}", "published", "null", "true", "2026-01-01", "", "0.5", "%00", "[1,2)")
OPERATORS = (
    *("eq", "neq", "gt", "lte", "like", "ilike", "imatch", "cs", "cd", "ov", "sl", "adj", "fts"),
    *("isdistinct", "not.eq", "not.gt", "eq(any)", "like(all)", "plfts(english)", "not.ilike"),
)

Keys = frozenset[str]
"""Rows by their keys, as JSON."""


@dataclass(slots=True)
class Shop:
    """A database with rows of several users, and what each client sees of each table."""

    gateway: ProbeGateway
    schema: Schema
    visible: dict[tuple[str, str], Keys] = field(default_factory=dict)
    """By actor and table, as the same role sees it in SQL."""
    unseen: int = 0
    """How many rows there are that somebody must not see."""

    def tables(self) -> list[str]:
        return sorted(
            name.name
            for name, table in self.schema.tables.items()
            if name.schema == "public" and table.primary_key
        )

    def key(self, table: str) -> tuple[str, ...]:
        return self.schema.tables[Name("public", table)].primary_key

    def neighbours(self, table: str) -> list[Relationship]:
        """What can be embedded by a foreign key, in words that mean one of them only."""
        found = self.schema.relationships.get((Name("public", table), "public"), ())
        return [
            each
            for each in found
            if isinstance(each, Relationship)
            and each.junction is None
            and each.target.name in self.tables()
            and not each.is_self
        ]


@pytest.fixture(scope="module", params=[database.name for database in TOPOLOGY.databases])
async def shop(servers: TestServers, request: pytest.FixtureRequest) -> AsyncIterator[Shop]:
    name: str = request.param
    async with AsyncExitStack() as stack:
        system = await stack.enter_async_context(servers.system(APPLICATION))
        database = system.database(name)
        connection = await stack.enter_async_context(administer(database))
        async with prepared(connection, TOPOLOGY.database(name), SAMPLES[name], 10_000):
            pass
        gateway = await stack.enter_async_context(ProbeGateway(database))
        shop = Shop(gateway, await gateway.gateway.schemas.current())
        for table in shop.tables():
            everything = await see(connection, shop, table, None)
            for actor in CLIENTS:
                shop.visible[actor.name, table] = await see(connection, shop, table, actor)
                shop.unseen += len(everything - shop.visible[actor.name, table])
        yield shop


async def see(connection: Any, shop: Shop, table: str, actor: ProbeActor | None) -> Keys:
    """The keys of the rows that an actor sees in SQL; of all there are for None."""
    listed = ", ".join(identifier(name) for name in shop.key(table))
    transaction = connection.transaction()
    await transaction.start()
    try:
        if actor is not None:
            await connection.execute(
                f"set local role {actor.role};"
                f"set local request.jwt.claims = {literal(actor.claims)}"
            )
            query = f"select has_any_column_privilege('public.{table}', 'select')"
            if not await connection.fetchval(query):
                return frozenset()
        rows = await connection.fetch(
            f"select json_build_array({listed})::text as key from public.{identifier(table)}"
        )
        return frozenset(row["key"] for row in rows)
    finally:
        await transaction.rollback()


@st.composite
def requests(draw: st.DrawFn, shop: Shop) -> tuple[str, list[tuple[str, str]], list[Relationship]]:
    """A table, a query about it, and what is embedded."""
    table = draw(st.sampled_from(shop.tables()))
    columns = st.sampled_from(list(shop.schema.tables[Name("public", table)].columns))
    known = shop.neighbours(table)
    embedded = draw(st.lists(st.sampled_from(known), max_size=2, unique=True)) if known else []
    items = list(shop.key(table))
    params: list[tuple[str, str]] = []
    for number, each in enumerate(embedded):
        join = draw(st.sampled_from(("", "!inner", "!left")))
        inside = ",".join(shop.key(each.target.name))
        items.append(f"e{number}:{each.target.name}!{each.constraint}{join}({inside})")
        if draw(st.booleans()):
            params.append((f"e{number}", draw(st.sampled_from(("is.null", "not.is.null")))))
    for _ in range(draw(st.integers(0, 3))):
        condition = f"{draw(st.sampled_from(OPERATORS))}.{draw(st.sampled_from(VALUES))}"
        params.append((draw(columns), condition))
    if draw(st.booleans()):
        either = [f"{draw(columns)}.{draw(st.sampled_from(('not.is.null', 'is.null')))}"]
        either.append(f"{draw(columns)}.neq.{draw(st.sampled_from(('x', '1')))}")
        params.append(("or", f"({','.join(either)})"))
    if draw(st.booleans()):
        params.append(("order", f"{draw(columns)}.{draw(st.sampled_from(('desc', 'asc')))}"))
    if draw(st.booleans()):
        params.append(("limit", str(draw(st.integers(0, 5)))))
    return table, [("select", ",".join(items)), *params], embedded


@settings(
    max_examples=60 * EFFORT,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(draw=st.data(), actor=st.sampled_from(CLIENTS))
async def test_no_request_reads_a_row_that_its_role_does_not_see(
    shop: Shop, draw: st.DataObject, actor: ProbeActor
) -> None:
    table, params, embedded = draw.draw(requests(shop))
    answer = await shop.gateway.get(f"/{table}", actor, params=params)
    assert answer.status_code < 500, answer.text
    if answer.is_success:
        rows = answer.json()
        verify_seen(shop, actor, table, rows)
        for number, each in enumerate(embedded):
            for row in rows:
                found = row[f"e{number}"]
                below = found if isinstance(found, list) else [found] if found else []
                verify_seen(shop, actor, each.target.name, below)


def verify_seen(shop: Shop, actor: ProbeActor, table: str, rows: list[Mapping[str, Any]]) -> None:
    found = {json.dumps([row[name] for name in shop.key(table)]) for row in rows}
    assert found <= shop.visible[actor.name, table], f"{actor.name} reads too much of {table}"


def test_there_is_something_to_see_and_something_not_to(shop: Shop) -> None:
    assert shop.unseen > 10
    assert any(shop.visible.values())
