"""The server's process: started directly, found again after a crash of ours, stopped for certain.

A process is taken for our server only when its working directory is our data directory, because
the number in postmaster.pid may by now belong to any other program.
"""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from bulkhead.engine.clock import monotonic_s
from bulkhead.engine.drivers.embedded_home import (
    CHILD_ENVIRONMENT,
    Address,
    Home,
    create_short_socket_directory,
    create_socket_directory,
    explain_failure,
    remove_socket_directory,
    rotate_log,
    server_path,
)
from bulkhead.engine.drivers.embedded_install import Account, Installation
from bulkhead.engine.drivers.errors import ServerStarting, ServerUnreachable
from bulkhead.engine.errors import BulkheadError

POLL_S = 0.01
ADOPT_TIMEOUT_S = 10.0
START_TIMEOUT_S = 300.0
"""Recovery after a crash replays up to a gigabyte of WAL."""
FAST_TIMEOUT_S = 20.0
IMMEDIATE_TIMEOUT_S = 5.0
ATTEMPTS = 5


class ServerFailed(BulkheadError):
    """The embedded server did not start: {reason}."""

    code = "server_failed"
    status = 503
    hint = "{remedy}"


@dataclass(slots=True)
class Postmaster:
    """The first process of a running server."""

    pid: int
    data: Path
    process: subprocess.Popen[bytes] | None = None
    """None for one that is not our child: its number may come to name another program."""

    @property
    def is_alive(self) -> bool:
        """Whether it runs; a zombie does not."""
        if self.process is not None:
            return self.process.poll() is None
        return is_running(self.pid) and works_in(self.pid, self.data)

    async def wait(self, timeout_s: float) -> bool:
        """Wait for its end; False when it still runs after `timeout_s`."""
        deadline_s = monotonic_s() + timeout_s
        while self.is_alive:
            if monotonic_s() > deadline_s:
                return False
            await asyncio.sleep(POLL_S)
        return True

    def send(self, number: signal.Signals) -> None:
        """Send a signal, unless it is gone."""
        if self.is_alive:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)


async def start_server(
    home: Home,
    installation: Installation,
    account: Account,
    check: Callable[[Address], Awaitable[None]],
    known: Postmaster | None = None,
) -> tuple[Postmaster, Address]:
    """Start the server, or take over the one that runs already; the caller holds the lock.

    `known` is the server that the caller started or took over before.

    `check` connects once and raises ServerUnreachable while the server is not ready. Raises
    ServerFailed, or what else `check` raises.
    """
    running = known or find_postmaster(home)
    if running is not None:
        address = home.find_address()
        if address is not None and await _adopt(running, address, check):
            return running, address
        await kill_server(running)
    log = ""
    await _clear_leftovers(home)
    address = _next_address(home, account)
    for _ in range(ATTEMPTS):
        home.store_address(address)
        started_at = home.log.stat().st_size if home.log.exists() else 0
        postmaster = _spawn(home, installation, account, address)
        if await _becomes_ready(postmaster, address, check):
            return postmaster, address
        log = _tail(home, started_at)
        if "TCP/IP" in log or "could not bind" in log or "Address already in use" in log:
            address = Address(free_port(), address.socket)
        elif "Unix-domain socket" in log:
            address = Address(address.port, create_short_socket_directory(account))
        elif "shared memory block" in log or "lock file" in log:
            await _clear_leftovers(home)
        else:
            break
    reason, remedy = explain_failure(log)
    raise ServerFailed(reason=reason, remedy=remedy)


async def stop_server(postmaster: Postmaster) -> None:
    """Stop fast, which rolls transactions back and writes a checkpoint; else at once."""
    postmaster.send(signal.SIGINT)
    if not await postmaster.wait(FAST_TIMEOUT_S):
        await kill_server(postmaster)


async def kill_server(postmaster: Postmaster) -> None:
    """Stop a server that does not listen to reason; the next start recovers from its WAL."""
    postmaster.send(signal.SIGQUIT)
    if await postmaster.wait(IMMEDIATE_TIMEOUT_S):
        return
    postmaster.send(signal.SIGKILL)
    await postmaster.wait(IMMEDIATE_TIMEOUT_S)


def find_postmaster(home: Home) -> Postmaster | None:
    """The server that runs on the data directory, if any."""
    try:
        first = (home.data / "postmaster.pid").read_text(encoding="utf-8").split("\n")[0]
        pid = int(first)
    except (FileNotFoundError, ValueError):
        return None
    found = Postmaster(pid, home.data)
    return found if found.is_alive else None


def is_running(pid: int) -> bool:
    """Whether there is a process `pid` that is no zombie."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return not sys.platform.startswith("linux")
    return status.rpartition(")")[2].split()[0] not in {"Z", "X"}


def works_in(pid: int, directory: Path) -> bool:
    """Whether the working directory of process `pid` is `directory`."""
    if sys.platform.startswith("linux"):
        try:
            return Path(f"/proc/{pid}/cwd").samefile(directory)
        except OSError:
            return False
    listing = subprocess.run(  # noqa: S603
        ["lsof", "-a", "-p", str(pid), "-d", "cwd", "-Fn"],  # noqa: S607
        capture_output=True,
        text=True,
        check=False,
    )
    return any(
        line.startswith("n") and Path(line[1:]).samefile(directory)
        for line in listing.stdout.splitlines()
    )


def free_port() -> int:
    """A TCP port that nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _next_address(home: Home, account: Account) -> Address:
    """Keep the port of the last time while it is free, so that noted URLs stay right."""
    last = home.find_address()
    port = last.port if last is not None and _is_free(last.port) else free_port()
    if last is not None:
        remove_socket_directory(last)
    return Address(port, create_socket_directory(home, account))


async def _adopt(
    running: Postmaster, address: Address, check: Callable[[Address], Awaitable[None]]
) -> bool:
    """Whether the running server answers; one that hangs is of no use, one that recovers is."""
    deadline_s = monotonic_s() + ADOPT_TIMEOUT_S
    while running.is_alive and monotonic_s() < deadline_s:
        try:
            await check(address)
        except ServerStarting:
            deadline_s = monotonic_s() + ADOPT_TIMEOUT_S
            await asyncio.sleep(POLL_S)
        except ServerUnreachable:
            await asyncio.sleep(POLL_S)
        else:
            return True
    return False


async def _becomes_ready(
    postmaster: Postmaster, address: Address, check: Callable[[Address], Awaitable[None]]
) -> bool:
    """Wait until the server answers; False when it ends instead."""
    deadline_s = monotonic_s() + START_TIMEOUT_S
    try:
        while postmaster.is_alive:
            try:
                await check(address)
            except ServerUnreachable as error:
                if monotonic_s() > deadline_s:
                    raise ServerFailed(
                        reason=f"it was not ready after {START_TIMEOUT_S:g} s",
                        remedy="Read the log in logs/postgresql.log.",
                    ) from error
                await asyncio.sleep(POLL_S)
            else:
                return True
    except BaseException:
        await stop_server(postmaster)
        raise
    return False


def _spawn(
    home: Home, installation: Installation, account: Account, address: Address
) -> Postmaster:
    rotate_log(home)
    directory = os.open(home.data, os.O_RDONLY)
    log = home.open_file(home.log, os.O_APPEND)
    try:
        process = subprocess.Popen(  # noqa: S603
            [
                str(installation.program("postgres")),
                "-D",
                server_path(home.data, directory, account),
                "-c",
                f"port={address.port}",
                "-c",
                f"unix_socket_directories={address.socket}",
            ],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=CHILD_ENVIRONMENT,
            cwd="/",
            pass_fds=(directory,),
            # Ctrl-C in the terminal goes to a process group; the server must outlive us.
            start_new_session=True,
            umask=0o077,
            **account.spawn,
        )
    finally:
        os.close(log)
        os.close(directory)
    return Postmaster(process.pid, home.data, process)


async def _clear_leftovers(home: Home) -> None:
    """Remove what a server that was killed left behind: processes, and its two kinds of lock."""
    left = list(_processes_in(home.data))
    for process in left:
        process.send(signal.SIGKILL)
    for process in left:
        await process.wait(IMMEDIATE_TIMEOUT_S)
    (home.data / "postmaster.pid").unlink(missing_ok=True)
    address = home.find_address()
    if address is not None:
        for name in (f".s.PGSQL.{address.port}", f".s.PGSQL.{address.port}.lock"):
            (Path(address.socket) / name).unlink(missing_ok=True)


def _processes_in(directory: Path) -> Iterator[Postmaster]:
    """Processes that work in `directory`; only Linux tells, elsewhere the server itself checks."""
    for entry in Path("/proc").glob("[0-9]*"):
        process = Postmaster(int(entry.name), directory)
        if process.is_alive and process.pid != os.getpid():
            yield process


def _tail(home: Home, start: int) -> str:
    with home.log.open("rb") as file:
        file.seek(start)
        return file.read().decode(errors="replace")
