"""A server whose disk is full: nothing is left of the job, and later ones are served."""

import asyncio
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from tests.integration.engine.provisioning.workshop import LOOKOUT, Workshop, open_workshop

from bulkhead.engine.connections.database import OpenDatabase
from bulkhead.engine.drivers.embedded import EmbeddedDriver
from bulkhead.engine.fleet.model import ServerKind
from bulkhead.engine.provisioning.job import JobState

SIZE = "200m"
LEFT_BYTES = 1_000_000
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


async def test_a_full_disk(small: Workshop, small_disk: Path) -> None:
    await small.verify_served(await small.provision())
    ballast = small_disk / "ballast"
    block = b"x" * 1_000_000
    with ballast.open("wb", buffering=0) as file:
        while free_bytes(small_disk) > LEFT_BYTES:
            file.write(block[: max(1, free_bytes(small_disk) - LEFT_BYTES)])
    job = await small.provision()
    assert job.state is JobState.FAILED
    assert job.error is not None
    assert job.error["code"] == "server_overloaded"
    assert "disk" in job.error["message"]
    assert job.error["hint"]
    ballast.unlink()
    await small.provisioning.tend()
    await small.verify_clean(job)
    await small.verify_served(await small.provision())


def free_bytes(folder: Path) -> int:
    """What is left of the disk."""

    return shutil.disk_usage(folder).free
