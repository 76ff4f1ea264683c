"""A server is tried before stores are placed on it, and left for good when it is gone."""

import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import asyncpg
import pytest
from mariadb_server import MariadbServer
from tests.integration.cli.conftest import OWNER, PASSWORD, Shop

from bulkhead.cli import server as server_module
from bulkhead.cli.output import Output
from bulkhead.cli.session import run, run_opened
from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.drivers.embedded import EmbeddedDriver
from bulkhead.engine.drivers.protocol import DatabaseSpec, Login

NOTE = """
insert into bulkhead.fleet_spares
  (name, server, fleet, purpose, version, fingerprint, state, leased_until)
values ('stores_of_another', 'third', 'stores', 'warm', 1, 'any', 'dropping', now() + $1::interval)
on conflict (name) do update set leased_until = excluded.leased_until
"""


def drop_elsewhere(shop: Shop, lease: dt.timedelta) -> None:
    """Note that another process drops a database that was kept ready, for as long as `lease`."""

    async def work(system: Any) -> None:
        async with system.database("master").transaction(SERVICE) as tx:
            await tx.execute(NOTE, lease)

    run_opened(Output(home=str(shop.home)), "store_platform", work)


def is_shown_as_drained(shop: Shop, server: str) -> bool:
    """What the list says to people."""
    [line] = [line for line in shop.done("server", "list").splitlines() if server in line.split()]
    return "no, drained" in line


@pytest.fixture
def clerk(shop: Shop) -> Iterator[tuple[str, ...]]:
    """The options of a login on the other server that may make nothing there."""

    async def execute(statement: str) -> None:
        connection = await asyncpg.connect(
            host="127.0.0.1",
            port=shop.east.port,
            user=shop.east.user,
            password=PASSWORD,
            database="postgres",
        )
        await connection.execute(statement)
        await connection.close()

    run(execute(f"create role clerk login password '{PASSWORD}'"))
    run(execute("grant connect on database postgres to clerk"))
    host = ("--host", "127.0.0.1", "--port", str(shop.east.port), "--tls", "disable")
    yield (*host, "--username", "clerk", "--password-file", str(shop.east.password_file))
    run(execute("revoke connect on database postgres from clerk"))
    run(execute("drop role clerk"))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("No Good", ("--host", "db.example.com", "--username", "admin")),
        ("-", ("--host", "db.example.com", "--username", "admin")),
        ("a" * 64, ("--host", "db.example.com", "--username", "admin")),
        ("nowhere", ()),
        ("nowhere", ("--host", "db.example.com")),
        ("nowhere", ("--username", "admin")),
        ("full", ("--host", "db.example.com", "--username", "admin", "--connections", "0")),
    ],
)
def test_what_is_no_server_is_refused(shop: Shop, name: str, options: tuple[str, ...]) -> None:
    assert shop.refused("server", "add", name, *options) == (2, "usage")


def test_a_server_is_kept_only_when_its_administrator_can_make_databases(
    shop: Shop, clerk: tuple[str, ...]
) -> None:
    host = ("--host", "127.0.0.1", "--tls", "disable", "--username", "keeper")
    closed = ("server", "add", "east", *host, "--port", "1")
    assert shop.refused(*closed, typed="any\n") == (6, "server_unreachable")
    wrong = ("server", "add", "east", *host, "--port", str(shop.east.port))
    assert shop.refused(*wrong, typed="wrong\n") == (6, "login_refused")
    assert shop.refused("server", "add", "east", *clerk) == (6, "capability_missing")


def test_one_server_is_not_known_by_two_names(shop: Shop, east: str) -> None:
    assert shop.refused("server", "add", "second", *shop.east.options) == (5, "conflict")
    # What is known of it can be changed.
    told = shop.done("server", "add", east, *shop.east.options, "--capacity", "70")
    assert told.startswith("Server 'east' takes stores: PostgreSQL 1")
    [row] = [row for row in shop.json("server", "list") if row["name"] == east]
    assert (row["capacity"], row["labels"], row["drained"]) == (70, {}, False)
    shop.done("server", "drain", east)
    assert is_shown_as_drained(shop, east)
    shop.done("server", "drain", east, "--end")
    assert not is_shown_as_drained(shop, east)


@pytest.fixture
def third(shop: Shop, tmp_path: Path) -> Iterator[EmbeddedDriver]:
    """A server that the home knows as `third`, labelled region=third."""
    tmp_path.chmod(0o755)
    driver = EmbeddedDriver(tmp_path / "third", durable=False)
    run(driver.start())
    password_file = tmp_path / "password"
    parts = urlsplit(driver.url(DatabaseSpec("any"), Login.ADMIN))
    password_file.write_text(unquote(parts.password or ""))
    place = ("--host", "127.0.0.1", "--port", str(parts.port), "--tls", "disable")
    login = ("--username", parts.username or "", "--password-file", str(password_file))
    shop.done("server", "add", "third", *place, *login, "--label", "region=third")
    yield driver
    shop.run("server", "remove", "third", "--abandon")
    run(driver.stop())


def test_a_server_is_removed_once_others_have_dropped_what_was_kept_ready(
    shop: Shop, third: EmbeddedDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    drop_elsewhere(shop, dt.timedelta(hours=1))
    monkeypatch.setattr(server_module, "CLEAR_S", 0.2)
    refused = shop.run("server", "remove", "third")
    assert "error [server_in_use]" in refused.err
    assert "1 databases that were kept ready are on it; another process may be" in refused.err
    monkeypatch.undo()
    drop_elsewhere(shop, dt.timedelta(seconds=1))
    shop.done("server", "remove", "third")
    assert shop.refused("server", "drain", "third") == (4, "server_unknown")


def test_a_server_that_is_gone_can_be_abandoned(shop: Shop, third: EmbeddedDriver) -> None:
    slug = shop.make_store("Stranded", "--label", "region=third")
    assert shop.refused("server", "remove", "third", "--abandon") == (5, "server_in_use")
    shop.done("tenant", "move", slug, "--server", "local")
    shop.done("tenant", "confirm", slug, "--yes")
    run(third.stop())
    # The template of its stores cannot be dropped.
    assert shop.refused("server", "remove", "third") == (5, "server_in_use")
    shop.done("server", "remove", "third", "--abandon")
    assert shop.refused("server", "drain", "third") == (4, "server_unknown")
    assert shop.json("tenant", "show", slug)["answers"] == "yes, postgresql"


def test_stores_are_made_on_a_mariadb_of_the_platform(
    shop: Shop, mariadb: MariadbServer, tmp_path: Path
) -> None:
    password_file = tmp_path / "password"
    password_file.write_text(mariadb.password)
    place = ("--host", "127.0.0.1", "--port", str(mariadb.port), "--tls", "disable")
    login = ("--username", "root", "--password-file", str(password_file))
    assert shop.run("provision", "create", "Early", "--owner", OWNER, "--type", "mysql",
                    "--no-wait").code == 0  # fmt: skip
    told = shop.done("server", "add", "maria", "--type", "mysql", *place, *login)
    assert told.startswith("Server 'maria' takes stores: ")
    assert "MariaDB" in told
    assert shop.run("provision", "watch", "early").code == 0
    found = shop.json("tenant", "show", "early")
    assert (found["kind"], found["server"], found["answers"]) == ("mysql", "maria", "yes, mysql")
    shop.query("early", "insert into settings (name, value) values ('kept', '{}')")
    file = tmp_path / "early.zip"
    assert "rows in" in shop.done("tenant", "export", "early", str(file))
    assert shop.refused("tenant", "move", "early", "--server", "local") == (5, "move_refused")
    assert shop.done("server", "drain", "maria").split() == ["store", "early"]
