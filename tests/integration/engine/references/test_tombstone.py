import pytest
from tests.integration.engine.references.rows import add_products, rows, run, value

from bulkhead.engine import failpoints
from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.connections.router import Router
from bulkhead.engine.connections.transaction import Transaction
from bulkhead.engine.drivers.errors import RaisedBySql
from bulkhead.engine.references.check import ReferenceChecker, ReferenceMissing
from bulkhead.engine.references.tombstone import (
    AFTER_FENCE,
    BEFORE_DELETE,
    ReferenceInUse,
    delete_target,
)
from bulkhead.engine.topology import Column, Topology

PRODUCT = Column.parse("catalog.products.id")
NUMBER = Column.parse("catalog.numbers.id")


async def tombstones(router: Router) -> list[tuple[str, str]]:
    found = await rows(
        router, "catalog", "select table_name, key from bulkhead.tombstones order by 1, 2"
    )
    return [(table, key) for table, key in found]


async def add_numbers(router: Router, *numbers: int) -> None:
    await run(
        router, "catalog", "insert into public.numbers select unnest($1::bigint[])", list(numbers)
    )


async def test_a_delete_of_many_rows_leaves_a_tombstone_for_each(router: Router) -> None:
    products = await add_products(router, 3)
    await run(router, "catalog", "delete from public.products where id <> $1", products[0])
    assert await tombstones(router) == sorted(("products", str(key)) for key in products[1:])


async def test_a_row_trigger_leaves_tombstones_too(router: Router) -> None:
    await run(router, "catalog", "insert into public.codes values ('a'), ('b')")
    await run(router, "catalog", "delete from public.codes")
    assert await tombstones(router) == [("codes", "a"), ("codes", "b")]


async def test_a_delete_that_is_rolled_back_leaves_none(router: Router) -> None:
    await add_products(router, 1)
    with pytest.raises(RaisedBySql):  # noqa: PT012
        async with router.database("catalog").transaction(SERVICE) as tx:
            await tx.execute("delete from public.products")
            await tx.execute("do $$ begin raise exception 'no'; end $$")
    assert await tombstones(router) == []


async def test_a_delete_of_nothing_leaves_none(router: Router) -> None:
    await run(router, "catalog", "delete from public.products")
    assert await tombstones(router) == []


async def test_a_target_nobody_refers_to_is_deleted(router: Router, topology: Topology) -> None:
    await add_numbers(router, 1, 2, 3)
    assert await delete_target(router, topology, NUMBER, [1, 2], grace_s=0) == 2
    assert await value(router, "catalog", "select count(*) from public.numbers") == 1
    assert await tombstones(router) == [("numbers", "1"), ("numbers", "2")]
    assert await value(router, "catalog", "select count(*) from bulkhead.deletion_fences") == 0


async def test_a_target_in_use_is_not_deleted_and_may_be_referred_to_again(
    router: Router, topology: Topology
) -> None:
    await add_numbers(router, 1, 2)
    await run(router, "sales", "insert into public.labels values (1, null, 2), (2, null, 2)")
    with pytest.raises(ReferenceInUse) as raised:
        await delete_target(router, topology, NUMBER, [1, 2], grace_s=0)
    assert raised.value.status == 409
    assert raised.value.details["count"] == 2
    assert await value(router, "catalog", "select count(*) from public.numbers") == 2
    await ReferenceChecker(router, topology).check_exists(NUMBER, [1, 2])


async def test_a_restricted_table_refuses_a_delete_without_a_fence(router: Router) -> None:
    await add_numbers(router, 1)
    with pytest.raises(RaisedBySql, match="may be referred to from another database"):
        await run(router, "catalog", "delete from public.numbers")


async def test_a_reference_that_was_checked_before_the_fence_is_waited_for(
    router: Router, topology: Topology
) -> None:
    """Whoever checked in time may still write; whoever checks after the fence is refused."""
    await add_numbers(router, 1)
    checker = ReferenceChecker(router, topology, cache_s=0)
    await checker.check_one(NUMBER, 1)
    failpoints.arm(AFTER_FENCE)
    with pytest.raises(failpoints.FailpointReached):
        await delete_target(router, topology, NUMBER, [1])
    with pytest.raises(ReferenceMissing):
        await checker.check_one(NUMBER, 1)
    await run(router, "sales", "insert into public.labels values (1, null, 1)")
    await run(
        router,
        "catalog",
        "update bulkhead.deletion_fences set placed_at = now() - interval '1 min'",
    )
    with pytest.raises(ReferenceInUse):
        await delete_target(router, topology, NUMBER, [1])


@pytest.mark.parametrize("point", [AFTER_FENCE, BEFORE_DELETE])
async def test_a_deletion_that_dies_is_simply_repeated(
    router: Router, topology: Topology, point: str
) -> None:
    await add_numbers(router, 1)
    failpoints.arm(point)
    with pytest.raises(failpoints.FailpointReached):
        await delete_target(router, topology, NUMBER, [1], grace_s=0)
    assert await value(router, "catalog", "select count(*) from public.numbers") == 1
    assert await delete_target(router, topology, NUMBER, [1], grace_s=0) == 1
    assert await delete_target(router, topology, NUMBER, [1], grace_s=0) == 0


async def test_deleting_may_be_more_than_a_delete(router: Router, topology: Topology) -> None:
    products = await add_products(router, 1)

    async def anonymise(tx: Transaction) -> None:
        await tx.execute("update public.products set name = 'nobody'")

    keys = [str(products[0])]
    assert await delete_target(router, topology, PRODUCT, keys, delete=anonymise) == 1
    assert await value(router, "catalog", "select name from public.products") == "nobody"
    assert await tombstones(router) == [("products", keys[0])]
