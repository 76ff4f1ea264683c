"""An administrator's way into a database: for migrations, checks and the command line only.

It passes over row level security. Nothing that serves requests may use it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Protocol

from bulkhead.engine.drivers.embedded import EmbeddedDriver
from bulkhead.engine.drivers.protocol import DatabaseSpec, Driver, Login

TIMEOUT_S = 10.0


class Placed(Protocol):
    """A database that has a place: an `OpenDatabase` or a `Placement`."""

    @property
    def driver(self) -> Driver:
        """Its server."""

    @property
    def spec(self) -> DatabaseSpec:
        """Its physical database."""


@asynccontextmanager
async def administer(placed: Placed, spec: DatabaseSpec | None = None) -> AsyncIterator[Any]:
    """A connection as administrator, to another database of the same server when `spec` is given.

    Raises ServerUnreachable, LoginRefused, DatabaseMissing.
    """
    connection = await placed.driver.connect(spec or placed.spec, Login.ADMIN, timeout_s=TIMEOUT_S)
    try:
        yield connection
    finally:
        await connection.close()


def url_of(placed: Placed, login: str) -> str:
    """A connection URL for other programs, for `client`, `service` or `admin`; has the password."""
    return placed.driver.url(placed.spec, Login(login))


def program_of(placed: Placed, name: str) -> str:
    """The path of a program such as `psql` that fits the server."""
    driver = placed.driver
    return str(driver.program(name)) if isinstance(driver, EmbeddedDriver) else name
