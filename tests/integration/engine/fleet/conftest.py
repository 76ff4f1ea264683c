"""An application whose only database holds the registry of a fleet."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bulkhead.engine.application import Application
from bulkhead.engine.connections.database import OpenDatabase
from bulkhead.engine.testing import TestServers
from bulkhead.engine.topology import Database, Table, Topology

MASTER = Database("master", (Table("owners"),), Path(__file__).parent / "master")
PLATFORM = Application("platform", "Platform", Topology("platform", (MASTER,)))


@pytest.fixture
async def registry(servers: TestServers) -> AsyncIterator[OpenDatabase]:
    async with servers.system(PLATFORM) as system:
        yield system.database("master")
