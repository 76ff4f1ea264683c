"""Embedded servers that tests start, stop and kill, each in a home of its own."""

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from bulkhead.engine.drivers.embedded import EmbeddedDriver
from bulkhead.engine.drivers.embedded_process import (
    ServerProcess,
    read_pid_file,
)
from bulkhead.engine.drivers.protocol import DatabaseSpec, Login

SPEC = DatabaseSpec("shop_orders")


def program(name: str) -> str:
    found = shutil.which(name)
    assert found is not None, f"every system has {name}"
    return found


def find_server(home: Path) -> ServerProcess | None:
    """The server that runs on the data of `home`."""
    file = read_pid_file(home / "data")
    found = ServerProcess(file.pid, home / "data") if file else None
    return found if found and found.is_alive else None


@asynccontextmanager
async def started(home: Path) -> AsyncIterator[EmbeddedDriver]:
    driver = EmbeddedDriver(home, durable=False)
    await driver.start()
    try:
        yield driver
    finally:
        await driver.stop()


async def write(driver: EmbeddedDriver, sql: str) -> None:
    connection = await driver.connect(SPEC, Login.ADMIN, timeout_s=10)
    await connection.execute(sql)
    await connection.close()


async def ids(driver: EmbeddedDriver) -> list[int]:
    connection = await driver.connect(SPEC, Login.ADMIN, timeout_s=10)
    rows = await connection.fetch("select id from things order by id")
    await connection.close()
    return [row["id"] for row in rows]
