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
from bulkhead.engine.drivers.endpoint import Endpoint, Session, open_connection
from bulkhead.engine.drivers.postgres import PostgresDriver
from bulkhead.engine.drivers.protocol import DatabaseSpec, Login
from bulkhead.engine.testing import TestServers

TEMPLATE = "postgrest_spec"
MAINTENANCE = "postgres"
CONNECT_TIMEOUT_S = 10.0
CONNECTIONS_MAX = 60

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
    """A server whose template database holds the fixtures."""

    endpoint: Endpoint
    driver: SpecDriver
    lacking: frozenset[str]
    """What cases may need that the server does not have."""
    budget: Budget

    @asynccontextmanager
    async def clone(self) -> AsyncIterator[OpenDatabase]:
        """A database of one's own with the fixtures as they were."""
        name = f"spec_{next(_numbers)}"
        admin = await self.connect(MAINTENANCE)
        try:
            await admin.execute(f"create database {name} template {TEMPLATE} strategy file_copy")
            # Settings of a database are not copied along.
            await admin.execute(f"alter database {name} set request.jwt.claim.id = '-1'")
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
    admin = await server.connect(MAINTENANCE)
    await create_roles(admin)
    await admin.execute(
        f"create database {TEMPLATE} template template0 encoding 'UTF8' lc_collate 'C' lc_ctype 'C'"
    )
    await admin.close()
    admin = await server.connect(TEMPLATE)
    server.lacking = await load_fixtures(admin, TEMPLATE, embedded.home.data / "projects_dump.csv")
    await admin.close()
    return server
