"""A database of its own with a library in it, and its schema as the gateway knows it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bulkhead.engine.connections.claims import Claims
from bulkhead.engine.connections.database import OpenDatabase
from bulkhead.engine.connections.pool import Budget
from bulkhead.engine.drivers.protocol import DatabaseSpec, Driver, Login
from bulkhead.gateway.rest.config import RestConfig
from bulkhead.gateway.rest.schema import Name, Schema
from bulkhead.gateway.rest.schema_load import load_schema

SCRIPT = Path(__file__).with_name("library.sql")
CONFIG = RestConfig(schemas=("api",), extra_search_path=("tools",))
NOBODY = Claims("none")
CONNECTIONS_MAX = 20


@dataclass(frozen=True, slots=True)
class Library:
    """The open database and an administrator's connection to it."""

    database: OpenDatabase
    admin: Any

    async def load(self, config: RestConfig = CONFIG) -> Schema:
        async with self.database.transaction(NOBODY, read_only=True) as tx:
            return await load_schema(tx, config, 1)


def api(name: str) -> Name:
    return Name("api", name)


@asynccontextmanager
async def open_library(
    driver: Driver, name: str, script: str | None = None
) -> AsyncIterator[Library]:
    """Make the database; it is dropped when the block ends."""
    spec = DatabaseSpec(name)
    await driver.ensure_database(spec)
    admin = await driver.connect(spec, Login.ADMIN, timeout_s=10)
    database = OpenDatabase("library", name, driver, spec, Budget(CONNECTIONS_MAX))
    try:
        await admin.execute(SCRIPT.read_text(encoding="utf-8") if script is None else script)
        yield Library(database, admin)
    finally:
        await database.close()
        await admin.close()
        await driver.drop_database(spec)
