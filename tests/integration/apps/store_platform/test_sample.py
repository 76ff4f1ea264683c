"""The three sample stores: made once, and left alone afterwards."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.integration.apps.store_platform.platform import Site, open_site

from bulkhead.apps.store_platform.sample import load_sample
from bulkhead.engine.testing import TestServers


@pytest.fixture(scope="module")
async def site(
    servers: TestServers, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Site]:
    home: Path = tmp_path_factory.mktemp("home")
    async with open_site(servers, home) as site:
        yield site


async def test_three_stores_are_made_once_each_in_its_own_database(site: Site) -> None:
    assert any("3 stores" in line for line in await load_sample(site.system))
    counts = "select array_agg(product_count || '/' || order_count) from stores"
    assert await site.value(counts) == ["3/2", "3/2", "3/2"]
    databases = "select count(distinct database_name) from stores where database_status = 'active'"
    assert await site.value(databases) == 3
    await load_sample(site.system)
    assert await site.value(counts) == ["3/2", "3/2", "3/2"]


async def test_what_somebody_did_with_a_sample_store_stays(site: Site) -> None:
    await load_sample(site.system)
    await site.value("update stores set slug = 'another-name' where slug = 'nordlicht-lamps'")
    await site.value("update stores set deleted_at = now() where slug = 'mill-street-tea'")
    await load_sample(site.system)
    assert await site.value("select count(*) from stores") == 3
