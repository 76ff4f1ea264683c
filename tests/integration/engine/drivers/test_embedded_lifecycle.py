"""What becomes of the embedded server when processes die at the wrong moment."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import asyncpg
import pytest

from bulkhead.engine.drivers import embedded, embedded_server
from bulkhead.engine.drivers.embedded import EmbeddedDriver
from bulkhead.engine.drivers.embedded_home import Address, DataUnusable
from bulkhead.engine.drivers.embedded_install import choose_account, installation_for
from bulkhead.engine.drivers.embedded_process import (
    ServerProcess,
    find_processes,
    is_server,
    read_pid_file,
)
from bulkhead.engine.drivers.embedded_server import ServerFailed, free_port
from bulkhead.engine.drivers.errors import ServerUnreachable
from bulkhead.engine.drivers.protocol import DatabaseSpec, Login
from bulkhead.engine.drivers.secret import SecretUnusable

SPEC = DatabaseSpec("shop_orders")
SOURCE = Path(embedded_server.__file__).parents[3]
OWNER = """
import asyncio, sys
from pathlib import Path
from bulkhead.engine.drivers.embedded import EmbeddedDriver

async def main():
    driver = EmbeddedDriver(Path(sys.argv[1]), durable=False)
    await driver.start()
    print(driver.owns_server, flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    await driver.stop()

asyncio.run(main())
"""


@pytest.fixture(scope="module")
async def made(folder: Path) -> Path:
    """A home with a database in it, to be copied by each test."""
    driver = EmbeddedDriver(folder / "made", durable=False)
    await driver.start()
    await driver.ensure_database(SPEC)
    await write(driver, "create table things (id integer primary key)")
    await driver.stop()
    return driver.home.path


@pytest.fixture
def home(made: Path, folder: Path) -> Iterator[Path]:
    """A home of its own for one test; nothing runs there after it."""
    path = folder / f"home-{free_port()}"
    subprocess.run([program("cp"), "-a", made, path], check=True)
    yield path
    for process in find_processes(path / "data"):
        process.send(signal.SIGKILL)
    shutil.rmtree(path, ignore_errors=True)


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


def program(name: str) -> str:
    found = shutil.which(name)
    assert found is not None, f"every system has {name}"
    return found


def find_server(home: Path) -> ServerProcess | None:
    """The server that runs on the data of `home`."""
    file = read_pid_file(home / "data")
    found = ServerProcess(file.pid, home / "data") if file else None
    return found if found and found.is_alive else None


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


@asynccontextmanager
async def started(home: Path) -> AsyncIterator[EmbeddedDriver]:
    driver = EmbeddedDriver(home, durable=False)
    await driver.start()
    try:
        yield driver
    finally:
        await driver.stop()


@contextmanager
def other_process(home: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that starts the server and keeps it until a line is written to it."""
    process = subprocess.Popen(
        [sys.executable, "-c", OWNER, home],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={"PYTHONPATH": str(SOURCE), "PATH": os.defpath},
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def answer(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


async def write(driver: EmbeddedDriver, sql: str) -> None:
    connection = await driver.connect(SPEC, Login.ADMIN, timeout_s=10)
    await connection.execute(sql)
    await connection.close()


async def ids(driver: EmbeddedDriver) -> list[int]:
    connection = await driver.connect(SPEC, Login.ADMIN, timeout_s=10)
    rows = await connection.fetch("select id from things order by id")
    await connection.close()
    return [row["id"] for row in rows]


async def test_a_stopped_server_is_gone_and_keeps_its_data_and_its_port(home: Path) -> None:
    async with started(home) as driver:
        await write(driver, "insert into things (id) values (1)")
        pid = driver.postmaster_pid
        url = driver.url(SPEC, Login.CLIENT)
        assert pid is not None
    assert not is_server(pid, home / "data")
    async with started(home) as driver:
        assert await ids(driver) == [1]
        assert driver.url(SPEC, Login.CLIENT) == url


async def test_a_driver_that_was_not_started_says_so(home: Path) -> None:
    driver = EmbeddedDriver(home)
    with pytest.raises(ServerUnreachable, match="not started"):
        await driver.connect(SPEC, Login.CLIENT, timeout_s=1)
    await driver.stop()


async def test_a_second_driver_attaches_and_leaves_the_server_alone(home: Path) -> None:
    async with started(home) as owner:
        async with started(home) as guest:
            assert owner.owns_server
            assert not guest.owns_server
            await write(guest, "insert into things (id) values (1)")
        assert await ids(owner) == [1]


async def test_of_many_starts_at_once_one_owns_the_server(home: Path) -> None:
    drivers = [EmbeddedDriver(home, durable=False) for _ in range(5)]
    async with asyncio.TaskGroup() as group:
        for driver in drivers:
            group.create_task(driver.start())
    assert sorted(driver.owns_server for driver in drivers) == [False] * 4 + [True]
    for driver in drivers:
        assert await ids(driver) == []
    for driver in sorted(drivers, key=lambda driver: driver.owns_server):
        await driver.stop()


async def test_of_two_processes_that_create_a_home_at_once_one_owns_it(folder: Path) -> None:
    home = folder / "created-at-once"
    with other_process(home) as one, other_process(home) as two:
        answers = sorted([await asyncio.to_thread(answer, process) for process in (one, two)])
        assert answers == ["False", "True"]
        async with started(home) as guest:
            await guest.ensure_database(SPEC)
    async with started(home) as heir:
        assert heir.owns_server


async def test_repeated_and_simultaneous_starts_of_one_driver_start_one_server(home: Path) -> None:
    async with started(home) as driver:
        pid = driver.postmaster_pid
        async with asyncio.TaskGroup() as group:
            for _ in range(3):
                group.create_task(driver.start())
        assert driver.postmaster_pid == pid


async def test_an_orphaned_server_is_taken_over(home: Path) -> None:
    with other_process(home) as owner:
        assert await asyncio.to_thread(answer, owner) == "True"
        async with started(home) as guest:
            await write(guest, "insert into things (id) values (1)")
        owner.kill()
        owner.wait()
        orphan = find_server(home)
        assert orphan is not None
        async with started(home) as heir:
            assert heir.owns_server
            assert heir.postmaster_pid == orphan.pid
            assert await ids(heir) == [1]
        assert not orphan.is_alive


async def test_a_server_that_was_killed_starts_again_with_what_was_committed(home: Path) -> None:
    async with started(home) as driver:
        await write(driver, "insert into things (id) values (1)")
        before = driver.postmaster_pid
        assert before is not None
        os.kill(before, signal.SIGKILL)
        await driver.start()
        assert driver.postmaster_pid != before
        assert await ids(driver) == [1]


async def test_connecting_starts_a_server_of_our_own_that_has_died(home: Path) -> None:
    async with started(home) as driver:
        assert driver.postmaster_pid is not None
        os.kill(driver.postmaster_pid, signal.SIGKILL)
        assert await ids(driver) == []


async def test_server_and_owner_killed_at_once_leave_nothing_in_the_way(home: Path) -> None:
    with other_process(home) as owner:
        assert await asyncio.to_thread(answer, owner) == "True"
        postmaster = find_server(home)
        assert postmaster is not None
        owner.kill()
        os.kill(postmaster.pid, signal.SIGKILL)
        async with started(home) as heir:
            assert heir.owns_server
            assert await ids(heir) == []


async def test_backends_that_outlive_their_postmaster_are_ended(home: Path) -> None:
    async with started(home) as driver:
        # A stopped process notices nothing, not even that its postmaster has died.
        connection = await driver.connect(SPEC, Login.ADMIN, timeout_s=10)
        backend = connection.get_server_pid()
        os.kill(backend, signal.SIGSTOP)
        assert driver.postmaster_pid is not None
        os.kill(driver.postmaster_pid, signal.SIGKILL)
        await driver.start()
        assert not is_server(backend, home / "data")
        assert await ids(driver) == []
        connection.terminate()


async def test_an_orphan_that_hangs_is_replaced(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded_server, "ADOPT_TIMEOUT_S", 0.1)
    monkeypatch.setattr(embedded_server, "IMMEDIATE_TIMEOUT_S", 0.2)
    monkeypatch.setattr(embedded, "CHECK_TIMEOUT_S", 0.5)
    with other_process(home) as owner:
        assert await asyncio.to_thread(answer, owner) == "True"
        owner.kill()
        owner.wait()
    orphan = find_server(home)
    assert orphan is not None
    os.kill(orphan.pid, signal.SIGSTOP)
    async with started(home) as heir:
        assert heir.postmaster_pid != orphan.pid
        assert not orphan.is_alive
        assert await ids(heir) == []


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
