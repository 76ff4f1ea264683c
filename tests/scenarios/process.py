"""Everything as a process of its own, which a test kills and starts again."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from quiet_port import quiet_port
from tests.plain_http import TRUSTS_NOBODY

from bulkhead.engine.testing import MEMORY

TRIES_MAX = 1800
PAUSE_S = 0.1
"""Between two tries; together they bound what a slow machine may take, and no test waits longer
than it has to."""


@dataclass
class Process:
    """A home, and the process that serves it at the moment."""

    home: Path
    port: int
    sample: bool = True
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self, **environment: str) -> None:
        """Start it, and return when it serves."""
        options = ["--port", str(self.port), "--sample" if self.sample else "--no-sample"]
        self.process = await asyncio.to_thread(
            subprocess.Popen,
            [*self._command(), "up", *options],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "BULKHEAD_LEASE_S": "1", **environment},  # noqa: TID251
        )
        async with httpx.AsyncClient(verify=TRUSTS_NOBODY) as http:
            for _ in range(TRIES_MAX):
                try:
                    if (await http.get(f"{self.url}/readyz")).status_code == 200:
                        self.sample = False  # It is there, and the next need not make sure.
                        return
                except httpx.TransportError:
                    assert self.process.poll() is None, "it ended before it was up"
                await asyncio.sleep(PAUSE_S)
        pytest.fail("it did not come up")

    async def end(self, number: signal.Signals) -> None:
        """Send a signal, and return when the process is gone."""
        assert self.process is not None, "started before"
        self.process.send_signal(number)
        await asyncio.to_thread(self.process.wait)

    async def killed_itself(self) -> None:
        """Return when the process has come to its failpoint."""
        assert self.process is not None, "started before"
        assert await asyncio.to_thread(self.process.wait, TRIES_MAX * PAUSE_S) == 137

    async def run(self, *words: str) -> subprocess.CompletedProcess[bytes]:
        """Run another command on the same home."""
        return await asyncio.to_thread(
            subprocess.run, [*self._command(), *words], stdout=subprocess.PIPE, check=False
        )

    async def examine(self, application: str) -> None:
        """Run the doctor until it has nothing to complain of, for a bounded time."""
        for _ in range(30):
            done = await self.run("doctor", "-a", application)
            findings = json.loads(done.stdout)
            if done.returncode == 0 and all(f["level"] in {"ok", "info"} for f in findings):
                return
            await asyncio.sleep(1)
        pytest.fail(str([f for f in findings if f["level"] not in {"ok", "info"}]))

    def _command(self) -> list[str]:
        return [sys.executable, "-m", "bulkhead", "--json", "--home", str(self.home)]


@contextmanager
def folder_of_homes() -> Iterator[Path]:
    """A folder that every account may pass through; in memory, where syncing costs nothing."""
    folder = Path(tempfile.mkdtemp(prefix="bulkhead-", dir=MEMORY if MEMORY.is_dir() else None))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@asynccontextmanager
async def open_process(
    home: Path, environment: Mapping[str, str] | None = None, *, sample: bool = True
) -> AsyncIterator[Process]:
    """A process that serves `home` inside the block."""
    process = Process(home, quiet_port(), sample)
    try:
        await process.start(**environment or {})
        yield process
    finally:
        if process.process is not None and process.process.poll() is None:
            await process.end(signal.SIGTERM)
