from collections.abc import AsyncIterator

import pytest
from tests.integration.engine.messaging.parcels_application import Handlers, parcels_application
from tests.integration.engine.messaging.transfer_application import Bank, transfer_application

from bulkhead.engine.system import System
from bulkhead.engine.testing import TestServers


@pytest.fixture
def handlers() -> Handlers:
    return Handlers()


@pytest.fixture
async def parcels(servers: TestServers, handlers: Handlers) -> AsyncIterator[System]:
    async with servers.system(parcels_application(handlers)) as system:
        yield system


@pytest.fixture
def bank() -> Bank:
    return Bank()


@pytest.fixture
async def system(servers: TestServers, bank: Bank) -> AsyncIterator[System]:
    async with servers.system(transfer_application(bank)) as system:
        yield system
