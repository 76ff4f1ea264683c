"""Real databases for integration tests: one embedded server per session, clones per test."""

import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import pgbouncer_server
import pytest
from mariadb_server import ABSENT, MariadbServer, find_mariadbd, run_mariadb
from pgbouncer_server import PgbouncerServer, find_pgbouncer, run_pgbouncer
from tests.integration.engine.drivers.tls_server import make_certificates

from bulkhead.engine.drivers.endpoint import Endpoint
from bulkhead.engine.testing import MEMORY, TestServers, open_test_servers


@pytest.fixture(scope="session")
async def servers() -> AsyncIterator[TestServers]:
    async with open_test_servers() as servers:
        yield servers


@pytest.fixture(scope="session")
def mariadb() -> Iterator[MariadbServer]:
    """A MariaDB that takes TLS for the name `localhost` but does not ask for it."""
    if find_mariadbd() is None:
        pytest.skip(ABSENT)
    folder = Path(tempfile.mkdtemp(prefix="bulkhead-", dir=MEMORY if MEMORY.is_dir() else None))
    folder.chmod(0o755)
    with run_mariadb(folder / "mariadb", make_certificates("localhost")) as server:
        yield server
    shutil.rmtree(folder, ignore_errors=True)


StartPgbouncer = Callable[..., PgbouncerServer]
"""Takes what `run_pgbouncer` takes, but the folder."""


@pytest.fixture
def start_pgbouncer() -> Iterator[StartPgbouncer]:
    """Starts PgBouncers, which the test may do with as it likes."""
    if find_pgbouncer() is None:
        pytest.skip(pgbouncer_server.ABSENT)
    folder = Path(tempfile.mkdtemp(prefix="bulkhead-"))
    folder.chmod(0o755)
    with ExitStack() as stack:

        def start(
            upstream: Endpoint,
            certificates: Mapping[str, bytes] | None = None,
            **settings: object,
        ) -> PgbouncerServer:
            home = folder / str(len(list(folder.iterdir())))
            return stack.enter_context(run_pgbouncer(home, upstream, certificates, **settings))

        yield start
    shutil.rmtree(folder, ignore_errors=True)
