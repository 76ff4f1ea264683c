"""PostgREST's fixtures on the embedded server, and our gateway in front of them."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
from tests.contract.postgrest.spec_gateway import SpecGateways
from tests.contract.postgrest.spec_server import start_spec_server

from bulkhead.engine.testing import open_test_servers


@pytest.fixture(scope="package")
async def gateways() -> AsyncIterator[SpecGateways]:
    async with open_test_servers() as servers, AsyncExitStack() as stack:
        yield SpecGateways(await start_spec_server(servers), stack)
