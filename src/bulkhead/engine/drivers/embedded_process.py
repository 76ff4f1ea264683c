"""Which process is the server: found by what it does, not only by its number.

The number in postmaster.pid may by now belong to any other program, and somebody's shell may stand
in the data directory. Neither is ever signalled.
"""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bulkhead.engine.clock import monotonic_s

POLL_S = 0.01
PROGRAM = "postgres"
_GONE = frozenset({"Z", "X"})


@dataclass(slots=True)
class ServerProcess:
    """A process of the server of the data directory `data`."""

    pid: int
    data: Path
    process: subprocess.Popen[bytes] | None = None
    """None for one that is not our child."""

    @property
    def is_alive(self) -> bool:
        """Whether it runs and is what it was; a zombie is not."""
        if self.process is not None:
            return self.process.poll() is None
        return is_server(self.pid, self.data)

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


@dataclass(frozen=True, slots=True)
class PidFile:
    """What a running server says about itself in postmaster.pid."""

    pid: int
    port: int
    socket: str
    single_user: bool = False


def read_pid_file(data: Path) -> PidFile | None:
    """Read postmaster.pid; None when there is none, or none that makes sense."""
    try:
        lines = (data / "postmaster.pid").read_text(encoding="utf-8").splitlines()
    except (FileNotFoundError, UnicodeDecodeError):
        return None
    try:
        pid = int(lines[0])
        port, socket = (int(lines[3] or 0), lines[4]) if len(lines) > 4 else (0, "")  # noqa: PLR2004
    except (IndexError, ValueError):
        return None
    # PostgreSQL writes the number of a single-user server with a minus.
    return PidFile(abs(pid), port, socket, single_user=pid < 0) if pid else None


def is_server(pid: int, data: Path) -> bool:
    """Whether process `pid` is a PostgreSQL that works in the directory `data`."""
    if sys.platform.startswith("linux"):
        try:
            status = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
            works_there = Path(f"/proc/{pid}/cwd").samefile(data)
        except OSError:
            return False
        name, _, rest = status.partition("(")[2].rpartition(")")
        return works_there and name == PROGRAM and rest.split()[0] not in _GONE
    return _lists_directory(pid, data)


def find_processes(data: Path) -> Iterator[ServerProcess]:
    """All processes of the server of `data`.

    Only Linux tells; elsewhere a new server finds out by itself that old ones are left.
    """
    for entry in Path("/proc").glob("[0-9]*"):
        if is_server(int(entry.name), data):
            yield ServerProcess(int(entry.name), data)


def _lists_directory(pid: int, data: Path) -> bool:
    command = ["lsof", "-a", "-p", str(pid), "-c", PROGRAM, "-d", "cwd", "-Fn"]
    listing = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    places = [line[1:] for line in listing.stdout.splitlines() if line.startswith("n")]
    return any(Path(place).exists() and Path(place).samefile(data) for place in places)
