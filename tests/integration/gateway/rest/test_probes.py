"""The shop's access, tried through the gateway: nobody gets further than the same SQL does."""

import asyncio

import pytest
from tests.integration.apps.commerce.probe_samples import SAMPLES
from tests.integration.gateway.rest.probes import ProbeGateway, is_same, prepared
from tests.scenarios.effort import THOROUGH

from bulkhead.apps.commerce.application import APPLICATION
from bulkhead.apps.commerce.topology import TOPOLOGY
from bulkhead.engine.connections.admin import administer
from bulkhead.engine.schema.probes.actors import ACTORS, ProbeActor
from bulkhead.engine.testing import TestServers

ONE_OF = 1 if THOROUGH else 7
"""Every so many probes are tried; the others differ from them by a column or an actor."""


@pytest.mark.parametrize("name", [database.name for database in TOPOLOGY.databases])
async def test_a_request_reaches_what_its_statement_reaches_and_nothing_else(
    servers: TestServers, name: str
) -> None:
    async with servers.system(APPLICATION) as system:
        database = system.database(name)
        async with (
            administer(database) as connection,
            prepared(connection, TOPOLOGY.database(name), SAMPLES[name], ONE_OF) as tries,
        ):
            pass
        async with ProbeGateway(database) as gateway:
            differences = []
            for attempt in tries:
                found = await gateway.run(attempt)
                if not is_same(attempt.in_sql, found):
                    differences.append(f"{attempt.probe}: {attempt.in_sql} in SQL, {found} by HTTP")
    assert differences == []
    assert len(tries) > 100


@pytest.mark.parametrize("name", [database.name for database in TOPOLOGY.databases])
async def test_no_request_names_what_is_in_no_exposed_schema(
    servers: TestServers, name: str
) -> None:
    async with servers.system(APPLICATION) as system:
        database = system.database(name)
        async with administer(database) as connection:
            hidden = await connection.fetch(
                "select n.nspname, c.relname from pg_class c"
                " join pg_namespace n on n.oid = c.relnamespace"
                " where c.relkind in ('r', 'v', 'm', 'p', 'f') and n.nspname <> 'public'"
            )
        async with ProbeGateway(database) as gateway, asyncio.TaskGroup() as group:
            for schema, relation in hidden[:: 1 if THOROUGH else 5]:
                for actor in ACTORS[::2]:
                    group.create_task(verify_hidden(gateway, actor, schema, relation))


async def verify_hidden(
    gateway: ProbeGateway, actor: ProbeActor, schema: str, relation: str
) -> None:
    plain = await gateway.get(f"/{relation}", actor)
    dotted = await gateway.get(f"/{schema}.{relation}", actor)
    chosen = await gateway.get(f"/{relation}", actor, {"accept-profile": schema})
    codes = [answer.json()["code"] for answer in (plain, dotted, chosen)]
    assert codes == ["PGRST205", "PGRST205", "PGRST106"]
