"""Uploads, deletions and sweeps in any order, many at once, with deaths in between.

Whatever happened: once it is swept, the bucket has the objects of the rows and no others, and the
plan is charged for just those.
"""

import random
from contextlib import suppress
from uuid import UUID

import pytest
from tests.integration.apps.store_platform.media.files import attempts, config, pieces, taken
from tests.integration.apps.store_platform.platform import Site
from tests.integration.capabilities.storage.s3_server import S3Server

from bulkhead.apps.store_platform import media
from bulkhead.apps.store_platform.invariants import platform_invariants
from bulkhead.apps.store_platform.store.media.model import NewFile, object_key
from bulkhead.engine import failpoints
from bulkhead.engine.errors import BulkheadError
from bulkhead.engine.failpoints import FailpointReached
from bulkhead.engine.ids import new_id
from bulkhead.engine.monitoring.invariant import run_invariants

POINTS = (
    media.HELD,
    media.STORED,
    media.NOTED,
    media.FORGOTTEN,
    media.DELETED,
)
SEEDS = 4
ROUNDS = 6
AT_ONCE = 8


@pytest.fixture(scope="module")
async def store(site: Site, s3: S3Server) -> UUID:
    s3.make_bucket("storm")
    owner = await site.caller()
    store = await site.open_store(owner)
    answer = await owner.send("PUT", f"/stores/{store}/storage", config(s3, "storm"))
    assert answer.status_code == 200, answer.text
    return store


async def files(site: Site, store: UUID) -> dict[UUID, int]:
    """The files that the store knows, with their sizes."""
    async with site.platform.fleet.connection(store) as db:  # type: ignore[arg-type]
        rows = await db.fetch("select id, size_bytes from media_library")
    return {row["id"]: row["size_bytes"] for row in rows}


async def act(site: Site, store: UUID, chance: random.Random, known: list[UUID]) -> None:
    """One thing that an owner, or a process that tidies, does."""
    if known and chance.random() < 0.5:
        await site.platform.media.delete(store, chance.choice(known))
        return
    size = chance.randint(1, 100_000)
    body = chance.randbytes(size)
    kind = chance.choice(["text/plain", "image/png"])  # The second is found out: it is none.
    announced = size if chance.random() < 0.9 else size + 1
    file = NewFile("a", kind, announced)
    await site.platform.media.upload(store, new_id(), file, pieces(body))


@pytest.mark.parametrize("seed", range(SEEDS))
async def test_after_any_storm_bucket_store_and_plan_agree(
    site: Site, s3: S3Server, store: UUID, seed: int
) -> None:
    chance = random.Random(seed)  # noqa: S311 - not a secret
    deaths = rounds = 0
    while rounds < ROUNDS or not deaths:
        rounds += 1
        known = list(await files(site, store))
        for point in POINTS:  # The first to come there after so many others dies.
            failpoints.arm(point, after=chance.randrange(AT_ONCE // 2))
        s3.gate.is_away = chance.random() < 0.1
        try:
            found = await attempts([act(site, store, chance, known) for _ in range(AT_ONCE)])
        finally:
            failpoints.disarm()
            s3.gate.is_away = False
        deaths += sum(isinstance(each, FailpointReached) for each in found)
        odd = [
            each
            for each in found
            if each is not None and not isinstance(each, BulkheadError | FailpointReached)
        ]
        assert odd == []
        if chance.random() < 0.5:
            failpoints.arm(media.DELETED, after=chance.randrange(2))
            with suppress(ExceptionGroup):
                await site.platform.media.sweep(older_than_s=0)
            failpoints.disarm()
    await site.platform.media.sweep(older_than_s=0)
    there = await files(site, store)
    assert set(s3.objects("storm")) == {object_key(store, it) for it in there}
    assert await taken(site, store) == (sum(there.values()), 0)
    report = await run_invariants(site.system.router, platform_invariants())
    assert report.holds, str(report)
