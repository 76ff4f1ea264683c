"""Stores whose owners run a MariaDB server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

from bulkhead.engine.drivers.endpoint import Session, Tls
from bulkhead.engine.drivers.mysql_connection import open_connection
from bulkhead.engine.drivers.mysql_wire import Target
from bulkhead.engine.ids import new_id

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mariadb_server import MariadbServer
    from tests.integration.apps.store_platform.platform import Caller, Site

PASSWORD = "hunter2 and more"  # noqa: S105


async def make_mariadb(mariadb: MariadbServer) -> dict[str, Any]:
    """A new database on the server with a user of its own, as an owner would make it."""
    name = f"shop_{new_id().hex[-10:]}"
    made = (
        f"create database `{name}` character set utf8mb4",
        f"create user `{name}`@`%` identified by '{PASSWORD}'",
        f"grant all on `{name}`.* to `{name}`@`%`",
    )
    await run_as_root(mariadb, "mysql", made)
    return {
        "host": "127.0.0.1",
        "port": mariadb.port,
        "database": name,
        "username": name,
        "password": PASSWORD,
        "ssl": False,
    }


async def run_as_root(mariadb: MariadbServer, database: str, statements: Sequence[str]) -> None:
    """What the server's administrator does in a database."""
    target = Target("127.0.0.1", mariadb.port, Tls.DISABLE, is_local=True)
    session = Session("root", mariadb.password, database)
    root = await open_connection(target, session, timeout_s=10)
    try:
        for statement in statements:
            await root.execute(statement, (), timeout_s=10)
    finally:
        root.terminate()


async def open_mariadb_store(
    site: Site, owner: Caller, config: dict[str, Any]
) -> tuple[UUID, dict[str, Any]]:
    """A store with its database on the server, and the status of the job that made it."""
    store = await owner.make_store()
    body = {"storeId": str(store), "databaseType": "mysql", "config": config}
    job = (await owner.post("/provision", body))["jobId"]
    await site.platform.provisioning.run_once()
    status = await owner.get(f"/provision/{job}/status")
    assert status["status"] == "active", status
    return store, status
