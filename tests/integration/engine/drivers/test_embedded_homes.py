"""What the embedded server makes of a home in which something is missing, wrong, or in its way."""

import asyncio
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import asyncpg
import pytest
from tests.integration.engine.drivers.embedded_subject import (
    SPEC,
    find_server,
    ids,
    program,
    started,
    write,
)

from bulkhead.engine.drivers.embedded import EmbeddedDriver
from bulkhead.engine.drivers.embedded_home import Address, DataUnusable
from bulkhead.engine.drivers.embedded_install import choose_account, installation_for
from bulkhead.engine.drivers.embedded_server import ServerFailed
from bulkhead.engine.drivers.protocol import DatabaseSpec, Login
from bulkhead.engine.drivers.secret import SecretUnusable


@pytest.fixture
def bystander(home: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A program under the server's account, which PostgreSQL would take for its predecessor."""
    account = choose_account(home / "data", home)
    process = subprocess.Popen([program("sleep"), "600"], cwd="/", **account.spawn)
    yield process
    process.kill()
    process.wait()


@pytest.fixture
def single_user(home: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Somebody repairs the data by hand."""
    account = choose_account(home / "data", home)
    postgres = installation_for(account).program("postgres")
    process = subprocess.Popen(
        [postgres, "--single", "-D", home / "data", "postgres"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd="/",
        **account.spawn,
    )
    with process:
        assert process.stdout is not None
        process.stdout.read(1)
        yield process
        process.kill()


@pytest.fixture
def private(folder: Path) -> Path:
    path = folder / "private"
    path.mkdir(mode=0o700)
    return path


@pytest.fixture
def moved(home: Path) -> Iterator[Callable[[Path], Path]]:
    """Moves the home elsewhere for the length of the test."""
    places = [home]

    def move(place: Path) -> Path:
        places.append(home.rename(place))
        return place

    yield move
    places[-1].rename(home)


def exists(path: str) -> bool:
    return os.path.lexists(path)


def process_files(pid: int | None) -> list[bytes]:
    """The environment and the command line of a process, where the system shows them."""
    paths = [Path(f"/proc/{pid}/{name}") for name in ("environ", "cmdline")]
    return [path.read_bytes() for path in paths if path.exists()]


def write_pid_file(home: Path, text: str) -> None:
    path = home / "data" / "postmaster.pid"
    path.write_text(text)
    choose_account(home / "data", home).own(path)


async def test_a_stale_pid_file_that_names_another_program_is_ignored(
    home: Path, bystander: subprocess.Popen[bytes]
) -> None:
    write_pid_file(home, f"{bystander.pid}\n{home}/data\n0\n5432\n/tmp\n127.0.0.1\n")
    async with started(home) as driver:
        assert driver.owns_server
        assert driver.postmaster_pid != bystander.pid
    assert bystander.poll() is None


async def test_a_shell_that_stands_in_the_data_directory_is_left_alone(home: Path) -> None:
    write_pid_file(home, "99999999\n")
    with subprocess.Popen([program("sleep"), "600"], cwd=home / "data") as shell:
        async with started(home):
            assert shell.poll() is None
        assert shell.poll() is None
        shell.kill()


async def test_a_server_in_single_user_mode_is_not_disturbed(
    home: Path, single_user: subprocess.Popen[bytes]
) -> None:
    with pytest.raises(ServerFailed, match=f"process {single_user.pid} works on the data"):
        await EmbeddedDriver(home).start()
    assert single_user.poll() is None


async def test_a_damaged_pid_file_does_not_stand_in_the_way(home: Path) -> None:
    write_pid_file(home, "garbage")
    (home / "server.json").write_text("{")
    async with started(home) as driver:
        assert await ids(driver) == []


async def test_a_taken_port_is_exchanged_for_a_free_one(home: Path) -> None:
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    EmbeddedDriver(home).home.store_address(Address(port, str(home / "run")))
    async with started(home) as driver:
        assert f":{port}/" not in driver.url(SPEC, Login.CLIENT)
        connection = await asyncpg.connect(driver.url(SPEC, Login.CLIENT))
        await connection.close()
    server.close()
    await server.wait_closed()


async def test_a_missing_secret_is_never_replaced(home: Path) -> None:
    (home / "secret.key").unlink()
    with pytest.raises(SecretUnusable, match="missing"):
        await EmbeddedDriver(home).start()
    assert not (home / "secret.key").exists()


async def test_a_wrong_secret_is_refused_and_nothing_is_left_running(home: Path) -> None:
    right = (home / "secret.key").read_bytes()
    (home / "secret.key").write_bytes(bytes(32))
    with pytest.raises(SecretUnusable, match="not the one"):
        await EmbeddedDriver(home).start()
    assert find_server(home) is None
    (home / "secret.key").write_bytes(right)
    async with started(home) as driver:
        assert await ids(driver) == []


async def test_data_of_another_version_is_refused(home: Path) -> None:
    (home / "data" / "PG_VERSION").write_text("9\n")
    with pytest.raises(DataUnusable, match="of PostgreSQL 9"):
        await EmbeddedDriver(home).start()


async def test_a_long_path_has_its_socket_elsewhere_and_leaves_nothing_there(
    folder: Path, moved: Callable[[Path], Path]
) -> None:
    async with started(moved(folder / ("x" * 100))) as driver:
        socket = driver._driver.endpoint.host
        assert not socket.startswith(str(folder))
        assert await ids(driver) == []
    assert not exists(socket)


async def test_a_home_below_a_private_folder_works(
    private: Path, moved: Callable[[Path], Path]
) -> None:
    async with started(moved(private / "home")) as driver:
        await write(driver, "checkpoint")
        await driver.ensure_database(DatabaseSpec("another"))
        assert await ids(driver) == []


async def test_the_secret_and_passwords_stay_out_of_sight(home: Path) -> None:
    async with started(home) as driver:
        await driver.ensure_database(DatabaseSpec("another"))
        secret = (home / "secret.key").read_bytes()
        url = driver.url(DatabaseSpec("another"), Login.CLIENT)
        hidden = [
            secret,
            secret.hex().encode(),
            url.partition("@")[0].rpartition(":")[2].encode(),
            driver._driver.endpoint.password.encode(),
            b"SCRAM-SHA-256$",
        ]
        connection = await driver.connect(SPEC, Login.ADMIN, timeout_s=10)
        await connection.execute("create extension if not exists pg_stat_statements")
        statements = await connection.fetchval(
            "select string_agg(query, ' ') from pg_stat_statements"
        )
        await connection.close()
        seen = [statements.encode(), (home / "logs" / "postgresql.log").read_bytes()]
        seen += process_files(driver.postmaster_pid)
    assert [value for value in hidden for text in seen if value in text] == []
    assert (home / "secret.key").stat().st_mode & 0o777 == 0o600


async def test_our_logins_cannot_connect_to_the_server_s_own_databases(home: Path) -> None:
    async with started(home) as driver:
        session = driver._driver.session(SPEC, Login.CLIENT)
        for database in ("postgres", "template1"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await asyncpg.connect(
                    host=driver._driver.endpoint.host,
                    port=driver._driver.endpoint.port,
                    user=session.user,
                    password=session.password,
                    database=database,
                )
