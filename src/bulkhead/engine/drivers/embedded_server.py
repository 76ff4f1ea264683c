"""Starting and stopping the server: directly, for certain, and without harm when repeated."""

import asyncio
import os
import signal
import socket
import subprocess
from collections.abc import Awaitable, Callable
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
from bulkhead.engine.drivers.embedded_process import (
    POLL_S,
    ServerProcess,
    find_processes,
    read_pid_file,
)
from bulkhead.engine.drivers.errors import ServerStarting, ServerUnreachable
from bulkhead.engine.errors import BulkheadError

ADOPT_TIMEOUT_S = 10.0
START_TIMEOUT_S = 300.0
"""Recovery after a crash replays up to a gigabyte of WAL."""
FAST_TIMEOUT_S = 20.0
IMMEDIATE_TIMEOUT_S = 5.0
ATTEMPTS = 5

Check = Callable[[Address], Awaitable[None]]


class ServerFailed(BulkheadError):
    """The embedded server did not start: {reason}."""

    code = "server_failed"
    status = 503
    hint = "{remedy}"


async def start_server(
    home: Home,
    installation: Installation,
    account: Account,
    check: Check,
    known: ServerProcess | None = None,
) -> tuple[ServerProcess, Address]:
    """Start the server, or take over the one that runs already; the caller holds the lock.

    `check` connects once and raises ServerUnreachable while the server is not ready; `known` is
    what the caller got here before. Raises ServerFailed, or what else `check` raises.
    """
    if (found := await _take_over(home, check, known)) is not None:
        return found
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
        if "Unix-domain socket" in log:
            address = Address(address.port, create_short_socket_directory(account))
        elif "TCP/IP socket" in log:
            address = Address(free_port(), address.socket)
        elif "shared memory block" in log or "lock file" in log:
            await _clear_leftovers(home)
        else:
            break
    reason, remedy = explain_failure(log)
    raise ServerFailed(reason=reason, remedy=remedy)


async def stop_server(postmaster: ServerProcess) -> None:
    """Stop fast, which rolls transactions back and writes a checkpoint; else at once."""
    postmaster.send(signal.SIGINT)
    if not await postmaster.wait(FAST_TIMEOUT_S):
        await kill_server(postmaster)


async def kill_server(postmaster: ServerProcess) -> None:
    """Stop a server that does not listen to reason; the next start recovers from its WAL."""
    postmaster.send(signal.SIGQUIT)
    if await postmaster.wait(IMMEDIATE_TIMEOUT_S):
        return
    postmaster.send(signal.SIGKILL)
    await postmaster.wait(IMMEDIATE_TIMEOUT_S)


def free_port() -> int:
    """A TCP port that nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def is_free(port: int) -> bool:
    """Whether nobody listens on a TCP port of the loopback."""
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
    port = last.port if last is not None and is_free(last.port) else free_port()
    if last is not None:
        remove_socket_directory(last)
    return Address(port, create_socket_directory(home, account))


async def _take_over(
    home: Home, check: Check, known: ServerProcess | None
) -> tuple[ServerProcess, Address] | None:
    """Take the running server over; one that does not answer is ended."""
    file = read_pid_file(home.data)
    if file is None:
        return None
    running = ServerProcess(file.pid, home.data)
    if known is not None and known.pid == file.pid:
        running = known
    if file.single_user and running.is_alive:
        raise ServerFailed(
            reason=f"process {file.pid} works on the data in single-user mode",
            remedy="Let it finish, or end it.",
        )
    address = Address(file.port, file.socket) if file.socket else home.find_address()
    if address is not None and await _answers(running, address, check):
        home.store_address(address)
        return running, address
    await kill_server(running)
    return None


async def _answers(running: ServerProcess, address: Address, check: Check) -> bool:
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


async def _becomes_ready(postmaster: ServerProcess, address: Address, check: Check) -> bool:
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
) -> ServerProcess:
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
    return ServerProcess(process.pid, home.data, process)


async def _clear_leftovers(home: Home) -> None:
    """Remove what a server that was killed left behind: processes, and its two kinds of lock."""
    left = list(find_processes(home.data))
    for process in left:
        process.send(signal.SIGKILL)
    for process in left:
        await process.wait(IMMEDIATE_TIMEOUT_S)
    (home.data / "postmaster.pid").unlink(missing_ok=True)
    address = home.find_address()
    if address is not None:
        for name in (f".s.PGSQL.{address.port}", f".s.PGSQL.{address.port}.lock"):
            (Path(address.socket) / name).unlink(missing_ok=True)


def _tail(home: Home, start: int) -> str:
    with home.log.open("rb") as file:
        file.seek(start)
        return file.read().decode(errors="replace")
