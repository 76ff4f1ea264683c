"""What becomes of the embedded server when processes die at the wrong moment."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from quiet_port import quiet_port
from tests.integration.engine.drivers.embedded_subject import (
    SPEC,
    find_server,
    ids,
    started,
    write,
)

from bulkhead.engine.drivers import embedded, embedded_server
from bulkhead.engine.drivers.embedded import EmbeddedDriver
from bulkhead.engine.drivers.embedded_process import (
    is_server,
)
from bulkhead.engine.drivers.errors import ServerUnreachable
from bulkhead.engine.drivers.protocol import Login

SOURCE = Path(embedded_server.__file__).parents[3]
OWNER = """
import asyncio, sys
from pathlib import Path
from bulkhead.engine.drivers.embedded import EmbeddedDriver

async def main():
    driver = EmbeddedDriver(Path(sys.argv[1]), durable=False)
    await driver.start()
    print(driver.owns_server, flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    await driver.stop()

asyncio.run(main())
"""


@contextmanager
def other_process(home: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that starts the server and keeps it until a line is written to it."""
    process = subprocess.Popen(
        [sys.executable, "-c", OWNER, home],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={"PYTHONPATH": str(SOURCE), "PATH": os.defpath},
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def answer(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


async def test_a_stopped_server_is_gone_and_keeps_its_data_and_its_port(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Nobody else comes by it while the server is down.
    monkeypatch.setattr(embedded_server, "free_port", quiet_port)
    async with started(home) as driver:
        await write(driver, "insert into things (id) values (1)")
        pid = driver.postmaster_pid
        url = driver.url(SPEC, Login.CLIENT)
        assert pid is not None
    assert not is_server(pid, home / "data")
    async with started(home) as driver:
        assert await ids(driver) == [1]
        assert driver.url(SPEC, Login.CLIENT) == url


async def test_a_driver_that_was_not_started_says_so(home: Path) -> None:
    driver = EmbeddedDriver(home)
    with pytest.raises(ServerUnreachable, match="not started"):
        await driver.connect(SPEC, Login.CLIENT, timeout_s=1)
    await driver.stop()


async def test_a_second_driver_attaches_and_leaves_the_server_alone(home: Path) -> None:
    async with started(home) as owner:
        async with started(home) as guest:
            assert owner.owns_server
            assert not guest.owns_server
            await write(guest, "insert into things (id) values (1)")
        assert await ids(owner) == [1]


async def test_of_many_starts_at_once_one_owns_the_server(home: Path) -> None:
    drivers = [EmbeddedDriver(home, durable=False) for _ in range(5)]
    async with asyncio.TaskGroup() as group:
        for driver in drivers:
            group.create_task(driver.start())
    assert sorted(driver.owns_server for driver in drivers) == [False] * 4 + [True]
    for driver in drivers:
        assert await ids(driver) == []
    for driver in sorted(drivers, key=lambda driver: driver.owns_server):
        await driver.stop()


async def test_of_two_processes_that_create_a_home_at_once_one_owns_it(folder: Path) -> None:
    home = folder / "created-at-once"
    with other_process(home) as one, other_process(home) as two:
        answers = sorted([await asyncio.to_thread(answer, process) for process in (one, two)])
        assert answers == ["False", "True"]
        async with started(home) as guest:
            await guest.ensure_database(SPEC)
    async with started(home) as heir:
        assert heir.owns_server


async def test_repeated_and_simultaneous_starts_of_one_driver_start_one_server(home: Path) -> None:
    async with started(home) as driver:
        pid = driver.postmaster_pid
        async with asyncio.TaskGroup() as group:
            for _ in range(3):
                group.create_task(driver.start())
        assert driver.postmaster_pid == pid


async def test_an_orphaned_server_is_taken_over(home: Path) -> None:
    with other_process(home) as owner:
        assert await asyncio.to_thread(answer, owner) == "True"
        async with started(home) as guest:
            await write(guest, "insert into things (id) values (1)")
        owner.kill()
        owner.wait()
        orphan = find_server(home)
        assert orphan is not None
        async with started(home) as heir:
            assert heir.owns_server
            assert heir.postmaster_pid == orphan.pid
            assert await ids(heir) == [1]
        assert not orphan.is_alive


async def test_a_server_that_was_killed_starts_again_with_what_was_committed(home: Path) -> None:
    async with started(home) as driver:
        await write(driver, "insert into things (id) values (1)")
        before = driver.postmaster_pid
        assert before is not None
        os.kill(before, signal.SIGKILL)
        await driver.start()
        assert driver.postmaster_pid != before
        assert await ids(driver) == [1]


async def test_connecting_starts_a_server_of_our_own_that_has_died(home: Path) -> None:
    async with started(home) as driver:
        assert driver.postmaster_pid is not None
        os.kill(driver.postmaster_pid, signal.SIGKILL)
        assert await ids(driver) == []


async def test_server_and_owner_killed_at_once_leave_nothing_in_the_way(home: Path) -> None:
    with other_process(home) as owner:
        assert await asyncio.to_thread(answer, owner) == "True"
        postmaster = find_server(home)
        assert postmaster is not None
        owner.kill()
        os.kill(postmaster.pid, signal.SIGKILL)
        async with started(home) as heir:
            assert heir.owns_server
            assert await ids(heir) == []


async def test_backends_that_outlive_their_postmaster_are_ended(home: Path) -> None:
    async with started(home) as driver:
        # A stopped process notices nothing, not even that its postmaster has died.
        connection = await driver.connect(SPEC, Login.ADMIN, timeout_s=10)
        backend = connection.get_server_pid()
        os.kill(backend, signal.SIGSTOP)
        assert driver.postmaster_pid is not None
        os.kill(driver.postmaster_pid, signal.SIGKILL)
        await driver.start()
        assert not is_server(backend, home / "data")
        assert await ids(driver) == []
        connection.terminate()


async def test_an_orphan_that_hangs_is_replaced(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded_server, "ADOPT_TIMEOUT_S", 0.1)
    monkeypatch.setattr(embedded_server, "IMMEDIATE_TIMEOUT_S", 0.2)
    monkeypatch.setattr(embedded, "CHECK_TIMEOUT_S", 0.5)
    with other_process(home) as owner:
        assert await asyncio.to_thread(answer, owner) == "True"
        owner.kill()
        owner.wait()
    orphan = find_server(home)
    assert orphan is not None
    os.kill(orphan.pid, signal.SIGSTOP)
    async with started(home) as heir:
        assert heir.postmaster_pid != orphan.pid
        assert not orphan.is_alive
        assert await ids(heir) == []
