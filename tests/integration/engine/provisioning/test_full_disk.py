"""A server whose disk is full: nothing is left of the job, and later ones are served."""

import asyncio
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from mariadb_server import ABSENT, find_mariadbd, run_mariadb
from tests.integration.engine.provisioning.workshop import LOOKOUT, Workshop, open_workshop

from bulkhead.engine.connections.database import OpenDatabase
from bulkhead.engine.drivers.embedded import EmbeddedDriver
from bulkhead.engine.drivers.endpoint import Endpoint, Tls
from bulkhead.engine.drivers.mysql import MysqlDriver
from bulkhead.engine.fleet.model import ServerKind
from bulkhead.engine.provisioning.job import JobState

SIZE = "200m"
LEFT_BYTES = {ServerKind.POSTGRESQL: 1_000_000, ServerKind.MYSQL: 0}
"""Less than a database takes."""


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A file system of its own, where this account may mount one."""
    folder = Path(tempfile.mkdtemp(prefix="bulkhead-small-"))
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={SIZE},mode=755", "small", str(folder)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        folder.rmdir()
        pytest.skip("this account may not mount a file system")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)
    folder.rmdir()


@pytest.fixture
async def small(registry: OpenDatabase, small_disk: Path) -> AsyncIterator[Workshop]:
    """A server whose data are on the small disk, and its log of changes elsewhere.

    PostgreSQL ends itself when it cannot write that log, which is another story.
    """
    driver = EmbeddedDriver(small_disk / "home", durable=False)
    await driver.start()
    await driver.stop()
    elsewhere = Path(tempfile.mkdtemp(prefix="bulkhead-wal-"))
    elsewhere.chmod(0o755)
    wal = driver.home.data / "pg_wal"
    copying = await asyncio.create_subprocess_exec("cp", "-a", str(wal), str(elsewhere))
    assert await copying.wait() == 0
    shutil.rmtree(wal)
    wal.symlink_to(elsewhere / "pg_wal")
    await driver.start()
    await driver.ensure_database(LOOKOUT)
    try:
        async with open_workshop(registry, ServerKind.POSTGRESQL, driver) as workshop:
            yield workshop
    finally:
        await driver.stop()
        shutil.rmtree(elsewhere)


@pytest.fixture
async def small_mysql(registry: OpenDatabase, small_disk: Path) -> AsyncIterator[Workshop]:
    """A MariaDB all of whose files are on the small disk."""
    if find_mariadbd() is None:
        pytest.skip(ABSENT)
    with run_mariadb(small_disk / "mariadb") as server:
        endpoint = Endpoint("127.0.0.1", server.port, "root", server.password, "", tls=Tls.DISABLE)
        driver = MysqlDriver(endpoint, secrets.token_bytes(32))
        async with open_workshop(registry, ServerKind.MYSQL, driver) as workshop:
            yield workshop


@pytest.fixture(params=["small", "small_mysql"], ids=["postgresql", "mysql"])
def on_small_disk(request: pytest.FixtureRequest) -> Workshop:
    """The same on servers of both kinds."""
    found: Workshop = request.getfixturevalue(request.param)
    return found


async def test_a_full_disk(on_small_disk: Workshop, small_disk: Path) -> None:
    small = on_small_disk
    await small.verify_served(await small.provision())
    ballast = small_disk / "ballast"
    left_bytes = LEFT_BYTES[small.kind]
    block = b"x" * 1_000_000
    with ballast.open("wb", buffering=0) as file:
        while free_bytes(small_disk) > left_bytes:
            file.write(block[: max(1, free_bytes(small_disk) - left_bytes)])
    job = await small.provisioning.start(small.request())
    while job.state not in (JobState.UNDOING, JobState.FAILED):
        await small.provisioning.run_once()
        await small.hurry()
        job = await small.provisioning.get(job.id)
    # MariaDB cannot even drop a user then: it is taken back once there is room.
    ballast.unlink()
    job = await small.finish(job)
    assert job.error is not None
    assert job.error["code"] == "server_overloaded"
    assert "disk" in job.error["message"]
    assert job.error["hint"]
    await small.provisioning.tend()
    await small.verify_clean(job)
    await small.verify_served(await small.provision())


def free_bytes(folder: Path) -> int:
    """What is left of the disk."""

    return shutil.disk_usage(folder).free
