"""Whether databases can be made on a server, asked before anybody is placed there."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Final

from bulkhead.engine.connections.queries import load_queries
from bulkhead.engine.drivers.endpoint import open_connection
from bulkhead.engine.drivers.errors import CapabilityMissing, DatabaseMissing, LoginRefused
from bulkhead.engine.drivers.mysql import MysqlDriver
from bulkhead.engine.drivers.postgres import PostgresDriver
from bulkhead.engine.drivers.protocol import DatabaseSpec, Driver, Login

if TYPE_CHECKING:
    from collections.abc import Iterator

QUERIES: Final = load_queries(__package__, "server_check.sql")
TIMEOUT_S: Final = 10.0
POSTGRES_MIN: Final = 150000
MYSQL_DATABASE: Final = "mysql"
"""One that every server has."""
REMEDY: Final = "Name an administrator of the server, or give this one the rights."


async def verify_server(driver: Driver) -> str:
    """The version of a server on which the driver's administrator may make databases and logins.

    Raises CapabilityMissing, and what keeps the server from being reached.
    """
    await driver.start()
    if isinstance(driver, PostgresDriver):
        version, lacking = await _ask_postgres(driver)
        await _reach_pooler(driver)
    elif isinstance(driver, MysqlDriver):
        version, lacking = await _ask_mysql(driver)
    else:
        return driver.server
    if lacking:
        missing = ", ".join(lacking)
        raise CapabilityMissing(server=driver.server, capability=missing, remedy=REMEDY)
    return version


async def _ask_postgres(driver: PostgresDriver) -> tuple[str, list[str]]:
    administrator = driver.endpoint.administrator()
    raw = await open_connection(driver.endpoint, administrator, timeout_s=TIMEOUT_S)
    try:
        row = await raw.fetchrow(QUERIES.ask_postgresql, timeout=TIMEOUT_S)
    finally:
        raw.terminate()
    return f"PostgreSQL {row['version']}", list(_lacking_postgres(row))


async def _reach_pooler(driver: PostgresDriver) -> None:
    """Have an answer of the pooler, if there is one: it need not know the administrator."""
    if driver.pooler is None:
        return
    with contextlib.suppress(LoginRefused, DatabaseMissing):
        administrator = driver.pooler.administrator()
        raw = await open_connection(driver.pooler, administrator, timeout_s=TIMEOUT_S, pooled=True)
        raw.terminate()


def _lacking_postgres(row: Any) -> Iterator[str]:  # noqa: ANN401 - asyncpg.Record
    if row["number"] < POSTGRES_MIN:
        yield "PostgreSQL 15"
    if not row["makes_databases"]:
        yield "the right to make databases (createdb)"
    if not row["makes_roles"]:
        yield "the right to make roles (createrole)"


async def _ask_mysql(driver: MysqlDriver) -> tuple[str, list[str]]:
    spec = DatabaseSpec(MYSQL_DATABASE)
    connection = await driver.connect(spec, Login.ADMIN, timeout_s=TIMEOUT_S)
    try:
        [row] = await connection.fetch(QUERIES.ask_mysql, (), timeout_s=TIMEOUT_S)
        rights = await connection.fetch(QUERIES.list_rights, (), timeout_s=TIMEOUT_S)
    finally:
        connection.terminate()
    names = {str(right["name"]).upper() for right in rights}
    lacking = [f"the right {name}" for name in ("CREATE", "CREATE USER") if name not in names]
    if not any(right["grantable"] == "YES" for right in rights):
        lacking.append("the right to grant (with grant option)")
    return str(row["version"]), lacking
