"""Who is compared on the gateway's questions, each a process of its own beside the same server."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil
from closed_loop import ask
from gateway_shop import DATABASE, NAME, POOL_SIZE, QUESTIONS, Customer, keys_of, socket_url

from bulkhead.engine.connections.admin import administer
from bulkhead.engine.drivers.protocol import Login
from bulkhead.engine.system import System

LITE = {"@supabase/lite": "0.10.0", "@hono/node-server": "1.19.9", "postgres": "3.4.9"}
CACHE = Path.home() / ".cache" / "bulkhead" / "benches"
_INSTANT = re.compile(r"20\d\d-\d\d-\d\d[T ]\d\d:")
_NUMERIC = re.compile(r"\d+\.\d\d")
HERE = Path(__file__).parent
SERVE = "from gateway_server import run; run()"


@dataclass(frozen=True, slots=True)
class Contestant:
    """A server that answers."""

    name: str
    port: int
    base: str
    """What its paths begin with."""
    dialect: bool
    """Whether it is asked in PostgREST's dialect."""
    pid: int

    @property
    def cpu_s(self) -> float:
        """Processor seconds of its process so far."""
        times = psutil.Process(self.pid).cpu_times()
        return times.user + times.system


@asynccontextmanager
async def contestants(system: System, names: list[str]) -> AsyncIterator[list[Contestant]]:
    """Start `names` of gateway, bare, sqlalchemy and lite."""
    client = await socket_url(system, Login.CLIENT)
    admin = await socket_url(system, Login.ADMIN)
    secret, home = keys_of(system).jwt_secrets[0], str(system.settings.home)
    async with AsyncExitStack() as stack:
        started = []
        for name in names:
            if name == "lite":
                folder = install_lite()
                command = ["node", str(folder / "gateway_lite.mjs"), admin, secret, str(POOL_SIZE)]
            else:
                command = [sys.executable, "-c", SERVE, name, client, secret, home]
            process = await asyncio.to_thread(
                subprocess.Popen,
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                cwd=HERE,
            )
            stack.push_async_callback(asyncio.to_thread, process.wait)
            stack.callback(process.terminate)
            assert process.stdout is not None, "piped"
            port = int(await asyncio.to_thread(process.stdout.readline))
            base = {"gateway": f"/{NAME}/{DATABASE}/rest/v1", "lite": "/rest/v1"}.get(name, "")
            started.append(Contestant(name, port, base, bool(base), process.pid))
        yield started


def install_lite() -> Path:
    """Install the peer from npm, once, and return the folder with its server's script."""
    folder = CACHE / f"lite-{LITE['@supabase/lite']}"
    if not (folder / "package-lock.json").exists():
        folder.mkdir(parents=True, exist_ok=True)
        package = {"private": True, "type": "module", "dependencies": LITE}
        (folder / "package.json").write_text(json.dumps(package))
        subprocess.run(["npm", "install", "--no-audit", "--no-fund"], cwd=folder, check=True)  # noqa: S607
    shutil.copy(HERE / "gateway_lite.mjs", folder)
    return folder


async def admit(system: System, customers: list[Customer]) -> None:
    """Make the users and sessions that the peer looks up for every request.

    It has also replaced `auth.uid()` by a form that only its own settings satisfy; put ours back.
    """
    place = system.database(DATABASE)
    await place.driver.ensure_database(place.spec)
    async with administer(place) as connection:
        sessions = {customer.session: customer.id for customer in customers}
        await connection.execute(
            "insert into auth.users (id) select unnest($1::uuid[])", list(sessions.values())
        )
        await connection.executemany(
            "insert into auth.sessions (id, user_id, aal) values ($1, $2, 'aal1')",
            list(sessions.items()),
        )


async def verify_equal(started: list[Contestant], customers: list[Customer]) -> None:
    """Ask everybody everything once; refuse to measure when the answers differ."""
    for question in QUESTIONS:
        answers = {}
        for who in started:
            request = question.render(who.base, dialect=who.dialect, customer=customers[1])
            status, body = await ask(who.port, request)
            assert 200 <= status < 300, f"{who.name}, {question.name}: {status} {body[:400]!r}"
            answers[who.name] = status, _comparable(json.loads(body), question.method == "POST")
        first = answers[started[0].name]
        for name, answer in answers.items():
            assert answer == first, f"{question.name}: {name} {answer!r:.900}, not {first!r:.900}"
        assert first[1], f"{question.name}: no rows"


def _comparable(value: Any, written: bool) -> Any:  # noqa: ANN401, FBT001
    """The same value for the same answer: without ids of new rows.

    The peer sends numerics as text, and instants as PostgreSQL prints them; let it.
    """
    if isinstance(value, list):
        return [_comparable(each, written) for each in value]
    if isinstance(value, dict):
        skipped = {"id", "created_at"} if written else set()
        return {key: _comparable(value[key], written) for key in value if key not in skipped}
    if isinstance(value, str) and _INSTANT.match(value):
        return datetime.fromisoformat(value)
    if isinstance(value, str) and _NUMERIC.fullmatch(value):
        return float(value)
    return value
