"""How long it takes to be there, and what it takes to stay: start-up times and idle memory.

Prints the time of `bulkhead --help` beside that of Python doing nothing; the time from the command
`bulkhead up` until `/readyz` says ready, on an empty folder (create a server, three databases, all
migrations) and on one that has been used; the time to stop; and the memory of the idle system.
PSS counts what processes share once; the sum of RSS counts it for each.

    python benches/startup.py [--rounds 5] [--idle 5]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter, sleep
from urllib.request import urlopen

import psutil

READY_S_MAX = 120.0
LOOK_EVERY_S = 0.01
BULKHEAD = (sys.executable, "-m", "bulkhead")


@dataclass(frozen=True)
class Run:
    """A running system, and how long it took to answer."""

    process: subprocess.Popen[bytes]
    home: Path
    printed_s: float
    """Until the address was printed."""
    ready_s: float
    """Until `/readyz` said so."""


def main(rounds: int, idle_s: float) -> None:
    """Measure everything and print it."""
    nothing_ms = time_command((sys.executable, "-c", "pass"), rounds)
    for name in ("--help", "version"):
        took_ms = time_command((*BULKHEAD, name), rounds)
        print(
            f"{'bulkhead ' + name:22} {took_ms:7.0f} ms   "
            f"python -c pass {nothing_ms:.0f} ms, so {took_ms - nothing_ms:.0f} ms of our own"
        )
    with tempfile.TemporaryDirectory(prefix="bulkhead-bench-") as folder:
        home = Path(folder)
        home.chmod(0o755)
        with running(home / "first") as cold:
            print(f"{'up, empty folder':22} {describe(cold)}")
        warm: list[Run] = []
        stops: list[float] = []
        for _ in range(rounds):
            with running(home / "first") as run:
                warm.append(run)
                began = perf_counter()
                stop(run.process)
                stops.append(perf_counter() - began)
        middle = sorted(warm, key=lambda run: run.ready_s)[rounds // 2]
        print(f"{'up, used folder':22} {describe(middle)}   median of {rounds}")
        print(f"{'stop':22} {statistics.median(stops) * 1000:7.0f} ms")
        with running(home / "first") as run:
            sleep(idle_s)
            print_memory(run)


def time_command(command: Sequence[str], rounds: int) -> float:
    """The median time of a command in milliseconds, after one run that does not count."""
    times = []
    for _ in range(rounds + 1):
        began = perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)  # noqa: S603
        times.append(perf_counter() - began)
    return statistics.median(times[1:]) * 1000


@contextmanager
def running(home: Path) -> Iterator[Run]:
    """Have `bulkhead up` running inside the block, without sample data."""
    command = [*BULKHEAD, "--json", "--home", str(home), "up", "--no-sample", "--port", "0"]
    environment = {**os.environ, "BULKHEAD_LOG_LEVEL": "warning"}
    began = perf_counter()
    process = subprocess.Popen(  # noqa: S603
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment
    )
    try:
        url = read_url(process)
        printed_s = perf_counter() - began
        wait_until_ready(url)
        yield Run(process, home, printed_s, perf_counter() - began)
    finally:
        stop(process)


def read_url(process: subprocess.Popen[bytes]) -> str:
    """Read the document that says where the server answers."""
    assert process.stdout is not None, "piped"
    text = b""
    for line in process.stdout:
        text += line
        if line.rstrip() == b"}":
            break
    url: str = json.loads(text)["url"]
    return url


def wait_until_ready(url: str) -> None:
    """Ask until every database answers."""
    until = perf_counter() + READY_S_MAX
    while perf_counter() < until:
        try:
            with urlopen(f"{url}/readyz", timeout=READY_S_MAX) as answer:  # noqa: S310
                if answer.status == 200:
                    return
        except OSError:
            pass
        sleep(LOOK_EVERY_S)
    raise TimeoutError(url)


def stop(process: subprocess.Popen[bytes]) -> None:
    """Stop the system and wait until it is gone."""
    process.terminate()
    process.wait()


def print_memory(run: Run) -> None:
    """Print the memory of the application and of PostgreSQL's processes, and who they are."""
    application = psutil.Process(run.process.pid)
    servers = [
        process
        for process in psutil.process_iter(["name"])
        if process.info["name"] == "postgres" and is_in(process, run.home)
    ]
    total_rss = total_pss = 0.0
    for name, processes in (("application", [application]), ("PostgreSQL", servers)):
        rss, pss = memory_of(processes)
        total_rss, total_pss = total_rss + rss, total_pss + pss
        print(
            f"{'idle, ' + name:22} {pss:7.1f} MiB PSS  {rss:7.1f} MiB RSS   "
            f"{len(processes)} processes"
        )
    print(f"{'idle, everything':22} {total_pss:7.1f} MiB PSS  {total_rss:7.1f} MiB RSS")


def memory_of(processes: Sequence[psutil.Process]) -> tuple[float, float]:
    """RSS and PSS in MiB; PSS is nan where the system does not tell."""
    found = [process.memory_full_info() for process in processes]
    rss = sum(each.rss for each in found)
    pss = sum(getattr(each, "pss", float("nan")) for each in found)
    return rss / 2**20, pss / 2**20


def is_in(process: psutil.Process, home: Path) -> bool:
    """Whether a process works in a folder below `home`."""
    try:
        return Path(process.cwd()).is_relative_to(home.resolve())
    except psutil.Error:
        return False


def describe(run: Run) -> str:
    """How long a start took."""
    return f"{run.ready_s * 1000:7.0f} ms until ready, {run.printed_s * 1000:.0f} ms until greeted"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--idle", type=float, default=5.0)
    arguments = parser.parse_args()
    main(arguments.rounds, arguments.idle)
