from collections.abc import Sequence
from uuid import UUID

import pytest

from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.connections.router import Router
from bulkhead.engine.ids import new_id
from bulkhead.engine.references.check import ReferenceChecker, ReferenceMissing
from bulkhead.engine.references.tombstone import bury, place_fences
from bulkhead.engine.topology import Column, Topology

PRODUCT = Column.parse("catalog.products.id")


@pytest.fixture
def checker(router: Router, topology: Topology) -> ReferenceChecker:
    return ReferenceChecker(router, topology)


async def add_products(router: Router, ids: Sequence[UUID]) -> None:
    async with router.database("catalog").transaction(SERVICE) as tx:
        await tx.execute(
            "insert into public.products (id) select * from unnest($1::uuid[])", list(ids)
        )


async def test_ids_that_exist_come_back_verified_in_their_order(
    router: Router, checker: ReferenceChecker
) -> None:
    first, second = new_id(), new_id()
    await add_products(router, [first, second])
    verified = await checker.check_exists(PRODUCT, [second, first, second])
    assert [each.value for each in verified] == [second, first, second]
    assert {each.target for each in verified} == {PRODUCT}


async def test_missing_ids_are_listed(router: Router, checker: ReferenceChecker) -> None:
    there, missing = new_id(), [new_id() for _ in range(12)]
    await add_products(router, [there])
    with pytest.raises(ReferenceMissing) as raised:
        await checker.check_exists(PRODUCT, [*missing, there])
    assert raised.value.status == 422
    assert raised.value.details["count"] == 12
    listed = str(raised.value.details["missing"])
    assert listed.split(", ") == [str(key) for key in missing[:10]]


async def test_that_something_is_missing_is_never_remembered(
    router: Router, checker: ReferenceChecker
) -> None:
    key = new_id()
    with pytest.raises(ReferenceMissing):
        await checker.check_one(PRODUCT, key)
    await add_products(router, [key])
    assert (await checker.check_one(PRODUCT, key)).value == key


async def test_what_was_seen_is_remembered_for_a_moment_only(
    router: Router, topology: Topology
) -> None:
    key = new_id()
    await add_products(router, [key])
    lasting = ReferenceChecker(router, topology, cache_s=3600)
    forgetful = ReferenceChecker(router, topology, cache_s=0)
    for checker in (lasting, forgetful):
        await checker.check_one(PRODUCT, key)
    async with router.database("catalog").transaction(SERVICE) as tx:
        await tx.execute("delete from public.products")
    await lasting.check_one(PRODUCT, key)
    with pytest.raises(ReferenceMissing):
        await forgetful.check_one(PRODUCT, key)


async def test_the_memory_is_bounded(router: Router, topology: Topology) -> None:
    checker = ReferenceChecker(router, topology, cache_s=3600, cache_max=3)
    keys = [new_id() for _ in range(10)]
    await add_products(router, keys)
    await checker.check_exists(PRODUCT, keys)
    assert len(checker._seen) == 3


async def test_a_buried_row_is_missing_although_it_is_there(
    router: Router, checker: ReferenceChecker
) -> None:
    key = new_id()
    await add_products(router, [key])
    async with router.database("catalog").transaction(SERVICE) as tx:
        assert await bury(tx, "products", [str(key)]) == 1
    with pytest.raises(ReferenceMissing):
        await checker.check_one(PRODUCT, key)


async def test_a_fenced_row_is_missing(router: Router, checker: ReferenceChecker) -> None:
    key = new_id()
    await add_products(router, [key])
    await place_fences(router, PRODUCT, [str(key)])
    with pytest.raises(ReferenceMissing):
        await checker.check_one(PRODUCT, key)
