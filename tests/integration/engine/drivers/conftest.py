"""The servers that every driver has to pass the contract suite on."""

import secrets
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from mariadb_server import MariadbServer
from supabase_api import SupabaseApi, open_cloud
from supabase_projects import ABSENT, can_listen
from tests.integration.engine.drivers.embedded_subject import SPEC, program, write
from tests.integration.engine.drivers.mysql_subject import MysqlSubject
from tests.integration.engine.drivers.subject import Subject
from tests.integration.engine.drivers.supabase_subject import (
    SupabaseSubject,
    access_to,
    account_of,
)
from tests.integration.engine.drivers.tls_server import TlsServer, find_programs, run_tls_server

from bulkhead.engine.drivers.embedded import EmbeddedDriver
from bulkhead.engine.drivers.embedded_process import find_processes
from bulkhead.engine.drivers.embedded_server import free_port
from bulkhead.engine.drivers.endpoint import Endpoint, Tls, open_connection
from bulkhead.engine.drivers.mysql import MysqlDriver
from bulkhead.engine.drivers.postgres import PostgresDriver
from bulkhead.engine.drivers.protocol import DatabaseSpec
from bulkhead.engine.drivers.supabase import SupabaseDriver
from bulkhead.engine.testing import make_home


@pytest.fixture(scope="session")
def folder() -> Iterator[Path]:
    path = make_home()
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="session")
async def embedded(folder: Path) -> AsyncIterator[EmbeddedDriver]:
    driver = EmbeddedDriver(folder / "embedded", durable=False)
    await driver.start()
    yield driver
    await driver.stop()


@pytest.fixture(scope="session")
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


@pytest.fixture(scope="session")
async def limited(folder: Path) -> AsyncIterator[Subject]:
    """A server whose administrator may create roles and databases, but is no superuser."""
    embedded = EmbeddedDriver(folder / "limited", durable=False)
    await embedded.start()
    superuser = embedded._driver.endpoint
    password = secrets.token_urlsafe()
    admin = await open_connection(superuser, superuser.administrator(), timeout_s=10)
    await admin.execute(
        f"create role limited login createrole createdb password '{password}';"
        "grant connect on database postgres to limited;"
        "create role service_role nologin noinherit bypassrls;"
        "grant service_role to limited with admin option;"
    )
    await admin.close()
    dsn = f"postgresql://limited:{password}@127.0.0.1:{superuser.port}/postgres"
    yield Subject(PostgresDriver(dsn, secrets.token_bytes(32)), superuser)
    await embedded.stop()


@pytest.fixture(scope="session")
def tls_server(folder: Path) -> Iterator[TlsServer]:
    postgres = find_programs()
    if postgres is None:
        pytest.skip("no PostgreSQL with OpenSSL on this machine (the embedded one has none)")
    with run_tls_server(postgres, folder / "tls") as server:
        yield server


@pytest.fixture(scope="session")
def encrypted(tls_server: TlsServer) -> Subject:
    endpoint = Endpoint(
        "localhost",
        tls_server.port,
        "postgres",
        tls_server.password,
        tls=Tls.VERIFY_FULL,
        ca_file=tls_server.ca_file,
    )
    driver = PostgresDriver(
        tls_server.dsn(sslmode="verify-full", sslrootcert=str(tls_server.ca_file)),
        secrets.token_bytes(32),
    )
    return Subject(driver, endpoint, encrypted=True)


PROJECT = frozenset({"postgresql", "roles", "policies", "extensions"})
POSTGRESQL = PROJECT | {"private", "templates"}
KINDS = {
    "embedded": POSTGRESQL,
    "superuser": POSTGRESQL,
    "limited": POSTGRESQL,
    "encrypted": POSTGRESQL,
    "mariadb": frozenset({"mysql"}),
    "supabase": PROJECT,
}
"""Kinds of servers, and what of the contract is not asked of all of them."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give a test every kind of server in turn that can do what the test needs."""
    if "subject" not in metafunc.fixturenames:
        return
    needed = {name for mark in metafunc.definition.iter_markers("needs") for name in mark.args}
    kinds = [kind for kind, abilities in KINDS.items() if needed <= abilities]
    metafunc.parametrize("subject", kinds, indirect=True, scope="session")


@pytest.fixture(scope="session")
def mysql(mariadb: MariadbServer) -> MysqlSubject:
    """MariaDB, reached by TLS as over a network."""
    endpoint = Endpoint(
        "localhost",
        mariadb.port,
        "root",
        mariadb.password,
        "",
        tls=Tls.VERIFY_FULL,
        ca_file=mariadb.ca_file,
    )
    return MysqlSubject(MysqlDriver(endpoint, secrets.token_bytes(32)), encrypted=True)


@pytest.fixture(scope="session")
async def supabase_api() -> AsyncIterator[SupabaseApi]:
    if not can_listen():
        pytest.skip(ABSENT)
    async with open_cloud() as api:
        yield api


@pytest.fixture(scope="session")
async def supabase(supabase_api: SupabaseApi) -> AsyncIterator[SupabaseSubject]:
    """An organization in a cloud whose projects really run; all it is sent is as described."""
    organization = supabase_api.cloud.add_organization()
    driver = SupabaseDriver(
        access_to(supabase_api), account_of(organization), secrets.token_bytes(32)
    )
    yield SupabaseSubject(driver, supabase_api, organization)
    assert supabase_api.complaints == []


@pytest.fixture(scope="session")
def subject(request: pytest.FixtureRequest) -> Subject | MysqlSubject | SupabaseSubject:
    """The kind of server that the test is run on."""
    found: Subject | MysqlSubject | SupabaseSubject
    if request.param in {"limited", "encrypted", "mariadb", "supabase"}:
        name = "mysql" if request.param == "mariadb" else request.param
        found = request.getfixturevalue(name)
        return found
    embedded: EmbeddedDriver = request.getfixturevalue("embedded")
    superuser = embedded._driver.endpoint
    if request.param == "embedded":
        return Subject(embedded, superuser)
    dsn = (
        f"postgresql://postgres:{superuser.password}@/postgres"
        f"?host={superuser.host}&port={superuser.port}&sslmode=disable"
    )
    return Subject(PostgresDriver(dsn, secrets.token_bytes(32)), superuser)


@pytest.fixture(scope="session")
async def spec(
    subject: Subject | MysqlSubject | SupabaseSubject,
) -> AsyncIterator[DatabaseSpec]:
    """A database that the tests of one server share and leave as it is."""
    async with subject.database() as spec:
        yield spec
