"""Runs `bulkhead up` as a process of its own, as anybody would, and stops it afterwards."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

from bulkhead.engine.errors import BulkheadError
from bulkhead.engine.settings import Settings

START_S_MAX = 120.0
STOP_S_MAX = 30.0
LOG = "demo-server.log"


class DemoServerFailed(BulkheadError):
    """The server of the demonstration did not start: {reason}."""

    code = "demo_server_failed"


@asynccontextmanager
async def running_site(home: Path) -> AsyncIterator[Settings]:
    """Have a server over the databases in `home` running inside the block.

    Yields settings with which its databases can be opened, at the address where it answers. It
    is given no variable of our environment, so that it is the same wherever it runs. Raises
    DemoServerFailed.
    """
    home = await asyncio.to_thread(_make_folder, home)
    with (home / LOG).open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "bulkhead", "--json", "--home", str(home)),
            *("up", "--port", "0", "--no-sample"),
            cwd=home,
            env=_environment(),
            stdout=PIPE,
            stderr=log,
        )
    try:
        url = await _address(process, home)
        parts = urlsplit(url)
        assert parts.hostname is not None, "an address of ours has a host"
        assert parts.port is not None, "and a port"
        yield Settings(home=home, host=parts.hostname, port=parts.port)
    finally:
        await _stop(process)


def _make_folder(home: Path) -> Path:
    home.mkdir(parents=True, exist_ok=True)
    return home.resolve()


async def _address(process: Process, home: Path) -> str:
    """Read the document that says where the server answers."""
    assert process.stdout is not None, "piped"
    lines: list[bytes] = []
    try:
        async with asyncio.timeout(START_S_MAX):
            while (line := await process.stdout.readline()) and line.rstrip() != b"}":
                lines.append(line)
    except TimeoutError:
        raise DemoServerFailed(reason=f"not within {START_S_MAX:.0f} s") from None
    if not line:
        last = (home / LOG).read_text(encoding="utf-8", errors="replace").strip()[-500:]
        raise DemoServerFailed(reason=last or "it ended without a word")
    url: str = json.loads(b"".join([*lines, line]))["url"]
    return url


async def _stop(process: Process) -> None:
    if process.returncode is not None:
        return
    process.terminate()
    try:
        await asyncio.wait_for(process.wait(), STOP_S_MAX)
    except TimeoutError:
        process.kill()
        await process.wait()


def _environment() -> dict[str, str]:
    return {
        "PATH": os.defpath,
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "BULKHEAD_LOG_LEVEL": "warning",
        "BULKHEAD_LOG_FORMAT": "json",
    }
