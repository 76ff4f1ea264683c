"""Fixtures with a server of the S3 protocol, and with what opens buckets."""

from collections.abc import AsyncIterator, Iterator

import pytest
from tests.integration.capabilities.storage.s3_server import S3Server, s3_server

from bulkhead.capabilities.storage import Buckets
from bulkhead.engine.egress import open_egress
from bulkhead.engine.settings import Settings


@pytest.fixture
def s3() -> Iterator[S3Server]:
    with s3_server() as server:
        server.make_bucket("pictures")
        yield server


@pytest.fixture
async def buckets() -> AsyncIterator[Buckets]:
    """As in development: loopback may be reached, by http too."""
    async with Buckets(open_egress(Settings())).serving() as buckets:
        yield buckets
