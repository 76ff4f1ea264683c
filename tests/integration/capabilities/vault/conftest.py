from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.integration.capabilities.vault.safe import SAFE, Safe

from bulkhead.engine.settings import Settings
from bulkhead.engine.testing import TestServers


@pytest.fixture
async def safe(servers: TestServers, tmp_path: Path) -> AsyncIterator[Safe]:
    async with servers.system(SAFE, Settings(home=tmp_path)) as system:
        await system.vault.unlock()
        yield Safe(system, system.vault)
