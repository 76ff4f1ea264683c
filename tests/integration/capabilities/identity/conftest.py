from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.integration.capabilities.identity.club import CLUB, Club, open_club

from bulkhead.engine.settings import Settings
from bulkhead.engine.system import System
from bulkhead.engine.testing import TestServers


@pytest.fixture
async def system(servers: TestServers, tmp_path: Path) -> AsyncIterator[System]:
    async with servers.system(CLUB, Settings(home=tmp_path)) as system:
        yield system


@pytest.fixture
async def club(system: System) -> Club:
    """The club as it is without configuration: addresses must be confirmed."""
    return open_club(system)


@pytest.fixture
async def open_door(system: System) -> Club:
    """The club with `autoconfirm`."""
    settings = Settings(home=system.settings.home, autoconfirm=True)
    return open_club(system, settings=settings)
