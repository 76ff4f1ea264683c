"""The embedded server with PostgREST's fixtures, and its clones."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any

from tests.contract.postgrest.fixtures import AUTHENTICATOR, PASSWORD, create_roles, load_fixtures

from bulkhead.engine.connections.database import OpenDatabase
from bulkhead.engine.connections.pool import Budget
from bulkhead.engine.connections.sql import literal
from bulkhead.engine.drivers.endpoint import Endpoint, Session, open_connection
from bulkhead.engine.drivers.postgres import PostgresDriver
from bulkhead.engine.drivers.protocol import DatabaseSpec, Login
from bulkhead.engine.testing import TestServers

ANALYSED = "postgrest_spec"
"""With the fixtures, which the planner has been told about."""
LOADED = "postgrest_spec_loaded"
"""The same before that: as the plans that some cases expect were recorded."""
MAINTENANCE = "postgres"
CONNECT_TIMEOUT_S = 10.0
CONNECTIONS_MAX = 60
TUNED = """
select name, boot_val
from pg_settings
where context = 'user'
  and setting is distinct from boot_val
  and (category like 'Query Tuning%' or name = 'work_mem')
"""

_numbers = count(1)


class SpecDriver(PostgresDriver):
    """Logs in as the fixtures' authenticator, which may become each of their roles."""

    def session(self, spec: DatabaseSpec, login: Login) -> Session:
        """The authenticator, whoever is asked for, except for the administrator."""
        if login is Login.ADMIN:
            return super().session(spec, login)
        return Session(AUTHENTICATOR, PASSWORD, spec.name)


@dataclass(slots=True, eq=False)
class SpecServer:
    """A server with the fixtures in two databases, from which others are cloned."""

    endpoint: Endpoint
    driver: SpecDriver
    lacking: frozenset[str]
    """What cases may need that the server does not have."""
    budget: Budget

    @asynccontextmanager
    async def clone(self, template: str = ANALYSED) -> AsyncIterator[OpenDatabase]:
        """A database of one's own with the fixtures as they were."""
        name = f"spec_{next(_numbers)}"
        admin = await self.connect(MAINTENANCE)
        try:
            await admin.execute(f"create database {name} template {template} strategy file_copy")
            await self._configure(admin, name)
            database = OpenDatabase(
                "postgrest", name, self.driver, DatabaseSpec(name), self.budget, pool_size=8
            )
            try:
                yield database
            finally:
                await database.close()
                await admin.execute(f"drop database {name} with (force)")
        finally:
            await admin.close()

    async def _configure(self, admin: Any, name: str) -> None:
        """Plan as a server does that nobody has tuned; settings are not copied by a clone."""
        settings = [(row["name"], row["boot_val"]) for row in await admin.fetch(TUNED)]
        for setting, value in [*settings, ("request.jwt.claim.id", "-1")]:
            await admin.execute(f"alter database {name} set {setting} = {literal(value)}")

    async def connect(self, database: str) -> Any:
        """An administrator's connection."""
        return await open_connection(
            self.endpoint,
            self.endpoint.administrator(database),
            timeout_s=CONNECT_TIMEOUT_S,
        )


async def start_spec_server(servers: TestServers) -> SpecServer:
    """Load the fixtures once; clones take them from there."""
    embedded = await servers.driver("postgrest")
    endpoint = embedded._driver.endpoint
    server = SpecServer(
        endpoint,
        SpecDriver(endpoint, embedded._driver._secret),
        frozenset(),
        Budget(CONNECTIONS_MAX),
    )
    maintenance = await server.connect(MAINTENANCE)
    await create_roles(maintenance)
    await maintenance.execute(
        f"create database {LOADED} template template0 encoding 'UTF8' lc_collate 'C' lc_ctype 'C'"
    )
    admin = await server.connect(LOADED)
    server.lacking = await load_fixtures(admin, LOADED, embedded.home.data / "projects_dump.csv")
    await admin.close()
    await maintenance.execute(f"create database {ANALYSED} template {LOADED} strategy file_copy")
    await maintenance.close()
    admin = await server.connect(ANALYSED)
    await admin.execute("vacuum analyze")
    await admin.close()
    return server
