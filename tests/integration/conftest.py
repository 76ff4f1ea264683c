"""Real databases for integration tests: one embedded server per session, clones per test."""

import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from mariadb_server import ABSENT, MariadbServer, find_mariadbd, run_mariadb
from tests.integration.engine.drivers.tls_server import make_certificates

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
