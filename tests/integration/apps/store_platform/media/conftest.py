"""The platform with a server of the S3 protocol, once for all tests of files."""

import itertools
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from uuid import UUID

import pytest
from mariadb_server import MariadbServer
from tests.integration.apps.store_platform.mariadb import make_mariadb, open_mariadb_store
from tests.integration.apps.store_platform.media.files import config, forget_limits, limit
from tests.integration.apps.store_platform.media.pair import Pair
from tests.integration.apps.store_platform.platform import Caller, Site, open_site
from tests.integration.capabilities.storage.s3_server import S3Server, s3_server

from bulkhead.engine.testing import TestServers

numbers = itertools.count(1)


@pytest.fixture(scope="package")
def s3() -> Iterator[S3Server]:
    with s3_server() as server:
        yield server


@pytest.fixture(scope="package")
async def site(
    servers: TestServers, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Site]:
    home: Path = tmp_path_factory.mktemp("home")
    async with open_site(servers, home) as site:
        await site.let_owners_have(stores=1000)
        yield site


@pytest.fixture(scope="package")
async def owner(site: Site) -> Caller:
    return await site.caller()


@pytest.fixture
def bucket(s3: S3Server) -> str:
    name = f"bucket-{next(numbers)}"
    s3.make_bucket(name)
    return name


@pytest.fixture(scope="package", params=["postgresql", "mysql"])
async def store(request: pytest.FixtureRequest, site: Site, owner: Caller) -> UUID:
    """A store on either server; one for all tests, which take a bucket each."""
    if request.param == "postgresql":
        return await site.open_store(owner)
    mariadb: MariadbServer = request.getfixturevalue("mariadb")
    return (await open_mariadb_store(site, owner, await make_mariadb(mariadb)))[0]


@pytest.fixture
async def connected(
    site: Site, s3: S3Server, owner: Caller, store: UUID, bucket: str
) -> AsyncIterator[str]:
    """The path of the store, which has an empty bucket; emptied again."""
    path = f"/stores/{store}"
    await forget_limits(site)
    answer = await owner.send("PUT", f"{path}/storage", config(s3, bucket))
    assert answer.status_code == 200, answer.text
    yield path
    await limit(site, store, 1)
    for row in (await owner.get(f"{path}/media"))["media"]:
        assert (await owner.send("DELETE", f"{path}/media/{row['id']}")).status_code == 204
    assert (await owner.send("DELETE", f"{path}/storage")).status_code == 204


@pytest.fixture(scope="package")
async def stores(site: Site, s3: S3Server, owner: Caller) -> Pair:
    return Pair(site, s3, owner, await site.open_store(owner), await site.open_store(owner))


@pytest.fixture
async def pair(stores: Pair) -> AsyncIterator[Pair]:
    yield stores
    await stores.clear()


@pytest.fixture
def buckets(s3: S3Server) -> tuple[str, str]:
    number = next(numbers)
    names = f"here-{number}", f"there-{number}"
    for name in names:
        s3.make_bucket(name)
    return names
