"""The command line as it is called, on a home whose server runs for the length of the session.

Commands run in this process, from the arguments to the exit code; nothing else works on jobs.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import asyncpg
import pytest
from click.testing import CliRunner
from quiet_port import quiet_port

from bulkhead.cli.main import main
from bulkhead.cli.output import Output
from bulkhead.cli.session import run
from bulkhead.cli.stores import on_store
from bulkhead.engine.drivers import embedded_server
from bulkhead.engine.drivers.embedded import EmbeddedDriver
from bulkhead.engine.drivers.protocol import DatabaseSpec, Login
from bulkhead.engine.testing import MEMORY

OWNER = "owner@example.com"
PASSWORD = "keep it apart"  # noqa: S105


@dataclass(frozen=True)
class Answer:
    """How a command ended, and what it printed."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Server:
    """A PostgreSQL server besides the home's own."""

    port: int
    user: str
    password_file: Path
    driver: EmbeddedDriver

    @contextmanager
    def away(self) -> Iterator[None]:
        """It does not answer inside the block."""
        run(self.driver.stop())
        try:
            yield
        finally:
            run(self.driver.start())

    @property
    def options(self) -> tuple[str, ...]:
        """What commands are told of it."""
        login = ("--username", self.user, "--password-file", str(self.password_file))
        return ("--host", "127.0.0.1", "--port", str(self.port), *login, "--tls", "disable")


@dataclass(frozen=True)
class Shop:
    """A home with the store platform, and a server that it does not know yet."""

    home: Path
    east: Server

    def run(self, *arguments: str, typed: str = "") -> Answer:
        """Call a command; `typed` is what is piped in."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", ["bulkhead", "--home", str(self.home), *arguments])
            with (
                CliRunner().isolation(input=typed) as (out, err, _),
                pytest.raises(SystemExit) as stop,
            ):
                main()
        code = stop.value.code
        return Answer(
            code if isinstance(code, int) else 0, out.getvalue().decode(), err.getvalue().decode()
        )

    def done(self, *arguments: str, typed: str = "") -> str:
        """What a command prints that has to succeed."""
        answer = self.run(*arguments, typed=typed)
        assert answer.code == 0, answer
        return answer.out

    def json(self, *arguments: str) -> Any:
        """The document that a command prints that has to succeed."""
        return json.loads(self.done("--json", *arguments))

    def refused(self, *arguments: str, typed: str = "") -> tuple[int, str]:
        """The exit code and the error's code of a command that has to fail."""
        answer = self.run("--json", *arguments, typed=typed)
        assert answer.code != 0, answer
        return answer.code, json.loads(answer.out)["error"]["code"]

    def make_store(self, name: str, *options: str) -> str:
        """A store with a database of its own; its slug."""
        self.done("provision", "create", name, "--owner", OWNER, *options)
        return name.lower().replace(" ", "-")

    def query(self, store: str, sql: str) -> list[dict[str, Any]]:
        """Ask the database of a store."""

        async def work(platform: Any, key: Any) -> list[dict[str, Any]]:
            return [dict(row) for row in await platform.fleet.query(key, sql)]

        return on_store(Output(home=str(self.home)), store, work)


@pytest.fixture(scope="session")
def shop() -> Iterator[Shop]:
    folder = Path(tempfile.mkdtemp(prefix="bulkhead-", dir=MEMORY if MEMORY.is_dir() else None))
    folder.chmod(0o755)
    drivers = [EmbeddedDriver(folder / name, durable=False) for name in ("home", "east")]
    with pytest.MonkeyPatch.context() as patch:
        # The home knows their ports, which nobody else comes by while one of them is away.
        patch.setattr(embedded_server, "free_port", quiet_port)
        for driver in drivers:
            run(driver.start())
    try:
        shop = Shop(folder / "home", run(_make_keeper(drivers[1], folder / "password")))
        shop.done("migrate", "apply", "-a", "store_platform")
        shop.done("user", "create", OWNER, "-a", "store_platform", "--password", "long and odd")
        yield shop
    finally:
        for driver in drivers:
            run(driver.stop())
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def east(shop: Shop) -> Iterator[str]:
    """The name under which the home knows the other server, labelled region=eu."""
    shop.done("server", "add", "east", *shop.east.options, "--label", "region=eu")
    shop.done("server", "drain", "east", "--end")
    yield "east"
    shop.run("server", "drain", "east")  # What others make is made on the home's own.


async def _make_keeper(driver: EmbeddedDriver, password_file: Path) -> Server:
    """An administrator as others have them, with a password that people could choose."""
    parts = urlsplit(driver.url(DatabaseSpec("any"), Login.ADMIN))
    assert parts.port is not None
    connection = await asyncpg.connect(
        host="127.0.0.1",
        port=parts.port,
        user=parts.username,
        password=unquote(parts.password or ""),
        database="postgres",
    )
    await connection.execute(f"create role keeper superuser login password '{PASSWORD}'")
    await connection.close()
    password_file.write_text(f"{PASSWORD}\n")
    return Server(parts.port, "keeper", password_file, driver)
