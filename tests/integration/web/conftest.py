"""The sample API behind the real server, once for all tests."""

from collections.abc import AsyncIterator

import httpx
import pytest
from tests.integration.web.sample_api import MOUNT, RULES
from tests.plain_http import TRUSTS_NOBODY

from bulkhead.engine.settings import Settings
from bulkhead.web.server import WebOptions, create_app
from bulkhead.web.serving import Serving, serving

HASTE_S = 0.3


@pytest.fixture(scope="session")
async def web() -> AsyncIterator[Serving]:
    app = create_app([MOUNT], Settings(), WebOptions(body_rules=RULES))
    async with serving(app) as running:
        yield running


@pytest.fixture(scope="session")
async def hasty_web() -> AsyncIterator[Serving]:
    """The same, but it waits for nobody."""
    app = create_app([MOUNT], Settings(), WebOptions(body_timeout_s=HASTE_S))
    async with serving(app, header_timeout_s=HASTE_S) as running:
        yield running


@pytest.fixture
async def client(web: Serving) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=web.url, verify=TRUSTS_NOBODY) as client:
        yield client
