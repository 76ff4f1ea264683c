"""Databases in which nothing but the driver has been, with an administrator's connection."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any

from bulkhead.engine.drivers.protocol import DatabaseSpec, Driver, Login

_NUMBERS = count(1)


@dataclass(frozen=True, slots=True)
class EmptyDatabase:
    driver: Driver
    spec: DatabaseSpec
    connection: Any

    async def connect(self) -> Any:
        return await self.driver.connect(self.spec, Login.ADMIN, timeout_s=10)


MakeEmpty = Callable[[], Awaitable[EmptyDatabase]]


@asynccontextmanager
async def open_empty_databases(driver: Driver) -> AsyncIterator[MakeEmpty]:
    """A function that makes them; they are dropped when the block ends."""
    async with AsyncExitStack() as stack:

        async def make() -> EmptyDatabase:
            spec = DatabaseSpec(f"empty_{next(_NUMBERS)}")
            await driver.ensure_database(spec)
            stack.push_async_callback(driver.drop_database, spec)
            connection = await driver.connect(spec, Login.ADMIN, timeout_s=10)
            stack.push_async_callback(connection.close)
            return EmptyDatabase(driver, spec, connection)

        yield make
