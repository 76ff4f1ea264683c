import asyncio
import json
import random
from uuid import UUID

import pytest
from tests.integration.engine.fleet.stalled import stalled
from tests.integration.engine.references.rows import (
    add_gifts,
    add_lines,
    add_products,
    open_violations,
    rows,
    run,
)
from tests.integration.engine.references.shop_application import GIFTS, LINES, NUMBERS

from bulkhead.engine import failpoints
from bulkhead.engine.connections.router import Router
from bulkhead.engine.ids import new_id
from bulkhead.engine.references.columns import ReferenceBroken
from bulkhead.engine.references.sweep import (
    AFTER_PAGE,
    BEFORE_PAGE,
    SweepLimits,
    SweepSuperseded,
    sweep_reference,
)
from bulkhead.engine.topology import Reference, Topology

SMALL = SweepLimits(page_keys=7)


async def test_a_sweep_reports_how_much_it_covered(router: Router, topology: Topology) -> None:
    products = await add_products(router, 20)
    await add_lines(router, [*products, *products, None])
    report = await sweep_reference(router, topology, LINES, limits=SMALL)
    assert (report.rows_checked, report.rows_total, report.coverage) == (40, 40, 1.0)
    assert report.complete
    assert (report.orphans, report.tombstoned) == (0, 0)


async def test_an_empty_table_is_completely_covered(router: Router, topology: Topology) -> None:
    report = await sweep_reference(router, topology, LINES)
    assert report.complete
    assert report.coverage == 1.0


async def test_every_row_of_an_orphan_is_recorded(router: Router, topology: Topology) -> None:
    products = await add_products(router, 30)
    orphan = new_id()
    await add_lines(router, [*products, orphan, orphan])
    report = await sweep_reference(router, topology, LINES, limits=SMALL)
    assert report.orphans == 2
    assert await open_violations(router, LINES.name) == [(str(orphan), "31"), (str(orphan), "32")]


@pytest.mark.parametrize("page_keys", [1, 7, 10_000])
async def test_orphans_are_found_before_among_and_after_the_targets_keys(
    router: Router, topology: Topology, page_keys: int
) -> None:
    keys = sorted(new_id() for _ in range(40))
    orphans = {keys[0], keys[1], keys[20], keys[38], keys[39]}
    for key in keys:
        if key not in orphans:
            await run(router, "catalog", "insert into public.products (id) values ($1)", key)
    await add_lines(router, keys)
    await sweep_reference(router, topology, LINES, limits=SweepLimits(page_keys=page_keys))
    found = await open_violations(router, LINES.name)
    assert {target for target, _ in found} == {str(key) for key in orphans}


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("reference", [LINES, GIFTS], ids=["by key", "by row"])
async def test_a_sweep_finds_exactly_what_is_missing(
    router: Router, topology: Topology, reference: Reference, seed: int
) -> None:
    """Sides of any density: few keys among many targets, many among few, runs of repeated keys."""
    chance = random.Random(seed)  # noqa: S311
    pool = [UUID(int=chance.getrandbits(128)) for _ in range(300)]
    targets = set(chance.sample(pool, chance.choice([0, 5, 150, 295])))
    held = chance.choices(chance.sample(pool, chance.choice([3, 40, 290])), k=300)
    await run(
        router, "catalog", "insert into public.products select unnest($1::uuid[])", list(targets)
    )
    await (add_lines if reference is LINES else add_gifts)(router, held)
    limits = SweepLimits(page_keys=chance.choice([1, 3, 20, 1000]))
    report = await sweep_reference(router, topology, reference, limits=limits)
    assert (report.rows_checked, report.complete) == (300, True)
    assert report.orphans == sum(key not in targets for key in held)
    found = await open_violations(router, reference.name)
    assert {target for target, _ in found} == {str(key) for key in set(held) - targets}


async def test_a_column_without_an_index_is_swept_by_rows(
    router: Router, topology: Topology
) -> None:
    products = await add_products(router, 25)
    orphan = new_id()
    await add_gifts(router, [*products, orphan, *products, orphan])
    report = await sweep_reference(router, topology, GIFTS, limits=SweepLimits(page_keys=1))
    assert (report.rows_checked, report.rows_total, report.orphans) == (52, 52, 2)
    found = await open_violations(router, GIFTS.name)
    assert [json.loads(source) for _, source in found] == [["shelf 1", "52"], ["shelf 2", "26"]]


@pytest.mark.parametrize("table", ["labels", "drafts"])
async def test_keys_of_text_and_of_different_integer_types_are_compared(
    router: Router, topology: Topology, table: str
) -> None:
    """`labels` has indexes on both columns, `drafts` has none."""
    await run(router, "catalog", "insert into public.codes values ('a'), ('Ä'), ('b b'), ('')")
    await run(router, "catalog", "insert into public.numbers values (-5), (0), (7), (2147483647)")
    await run(
        router,
        "sales",
        f"insert into public.{table} values (1, 'a', -5), (2, 'Ä', 0), (3, 'b b', 7),"
        " (4, '', 2147483647), (5, 'A', -6), (6, 'b  b', 1)",
    )
    codes = Reference.declare(f"sales.{table}.code", to="catalog.codes.id")
    numbers = Reference.declare(f"sales.{table}.number", to="catalog.numbers.id")
    for reference in (codes, numbers):
        report = await sweep_reference(router, topology, reference, limits=SweepLimits(page_keys=2))
        assert (report.rows_checked, report.orphans) == (6, 2)
    assert {key for key, _ in await open_violations(router, codes.name)} == {"A", "b  b"}
    assert {key for key, _ in await open_violations(router, numbers.name)} == {"-6", "1"}


async def test_only_rows_that_hold_the_reference_are_checked(
    router: Router, topology: Topology
) -> None:
    some = Reference(LINES.source, LINES.target, where="kind = 'sale' or kind = 'return'")
    await add_lines(router, [new_id(), new_id()])
    await run(router, "sales", "update public.lines set kind = 'note' where id = 2")
    report = await sweep_reference(router, topology, some)
    assert (report.rows_checked, report.rows_total, report.orphans) == (1, 1, 1)


async def test_a_deleted_target_is_no_orphan(router: Router, topology: Topology) -> None:
    products = await add_products(router, 5)
    await add_lines(router, products)
    await run(router, "catalog", "delete from public.products where id = $1", products[2])
    report = await sweep_reference(router, topology, LINES)
    assert (report.orphans, report.tombstoned) == (0, 1)


async def test_a_sweep_settles_what_was_written_while_its_target_was_deleted(
    router: Router, topology: Topology
) -> None:
    products = await add_products(router, 5)
    await run(router, "catalog", "delete from public.products where id = $1", products[2])
    await add_gifts(router, products)
    report = await sweep_reference(router, topology, GIFTS)
    assert (report.orphans, report.tombstoned) == (0, 1)
    left = await rows(router, "sales", "select product_id from public.gifts order by slot")
    assert [key for (key,) in left] == [*products[:2], None, *products[3:]]


async def test_a_deleted_target_under_restrict_is_an_orphan(
    router: Router, topology: Topology
) -> None:
    await run(router, "sales", "insert into public.labels values (1, null, 4)")
    await run(router, "catalog", "select bulkhead.bury('numbers', '{4}')")
    report = await sweep_reference(router, topology, NUMBERS)
    assert (report.orphans, report.tombstoned) == (1, 0)


async def test_a_violation_that_is_gone_is_closed_and_one_that_returns_is_opened_again(
    router: Router, topology: Topology
) -> None:
    orphan = new_id()
    await add_lines(router, [orphan])
    await sweep_reference(router, topology, LINES)
    await run(router, "sales", "update public.lines set product_id = null")
    await sweep_reference(router, topology, LINES)
    assert await open_violations(router, LINES.name) == []
    await run(router, "sales", "update public.lines set product_id = $1", orphan)
    await sweep_reference(router, topology, LINES)
    assert await open_violations(router, LINES.name) == [(str(orphan), "1")]


async def test_an_interrupted_sweep_goes_on_where_it_stopped(
    router: Router, topology: Topology
) -> None:
    products = await add_products(router, 30)
    orphan = new_id()
    await add_lines(router, [*products, orphan])
    limits = SweepLimits(page_keys=7, rows_max=14)
    first = await sweep_reference(router, topology, LINES, limits=limits)
    assert (first.rows_checked, first.complete, first.orphans) == (14, False, 0)
    assert first.coverage == pytest.approx(14 / 31)
    second = await sweep_reference(router, topology, LINES, limits=limits)
    assert (second.rows_checked, second.complete) == (28, False)
    third = await sweep_reference(router, topology, LINES, limits=limits)
    assert (third.rows_checked, third.complete, third.orphans) == (31, True, 1)
    again = await sweep_reference(router, topology, LINES)
    assert (again.rows_checked, again.complete) == (31, True)


async def test_a_restart_forgets_how_far_the_last_sweep_had_come(
    router: Router, topology: Topology
) -> None:
    await add_lines(router, await add_products(router, 10))
    await sweep_reference(router, topology, LINES, limits=SweepLimits(page_keys=2, rows_max=4))
    report = await sweep_reference(router, topology, LINES, restart=True)
    assert (report.rows_checked, report.complete) == (10, True)


async def test_a_sweep_in_another_order_begins_anew(router: Router, topology: Topology) -> None:
    await add_gifts(router, await add_products(router, 30))
    await sweep_reference(router, topology, GIFTS, limits=SweepLimits(page_keys=1, rows_max=4))
    await run(
        router,
        "sales",
        "update bulkhead.reference_sweeps set path = 'product_id', position = '[\"x\"]'",
    )
    report = await sweep_reference(router, topology, GIFTS)
    assert (report.rows_checked, report.complete) == (30, True)


@pytest.mark.parametrize("point", [BEFORE_PAGE, AFTER_PAGE])
@pytest.mark.parametrize("reference", [LINES, GIFTS], ids=["by key", "by row"])
async def test_a_sweep_that_dies_counts_nothing_twice(
    router: Router, topology: Topology, reference: Reference, point: str
) -> None:
    products = await add_products(router, 20)
    referring = [*products, *(new_id() for _ in range(20))]
    await add_lines(router, referring)
    await add_gifts(router, referring)
    limits = SweepLimits(page_keys=7 if reference is LINES else 1)
    failpoints.arm(point, after=2)
    with pytest.raises(failpoints.FailpointReached):
        await sweep_reference(router, topology, reference, limits=limits)
    report = await sweep_reference(router, topology, reference, limits=limits)
    assert (report.rows_checked, report.orphans, report.complete) == (40, 20, True)
    assert len(await open_violations(router, reference.name)) == 20


async def test_a_sweep_whose_fence_is_gone_stops(router: Router, topology: Topology) -> None:
    await add_lines(router, await add_products(router, 30))
    sweeping = sweep_reference(router, topology, LINES, limits=SweepLimits(page_keys=1))
    async with stalled(AFTER_PAGE, sweeping) as stopped:
        await run(router, "sales", "update bulkhead.reference_sweeps set fence = fence + 1")
    assert isinstance(stopped.exception(), SweepSuperseded)


async def test_no_false_orphan_is_seen_while_rows_come_and_go(
    router: Router, topology: Topology
) -> None:
    """Writers add a product, then a line for it, and delete the oldest product meanwhile."""
    await add_lines(router, await add_products(router, 200))
    stop, limits = asyncio.Event(), SweepLimits(page_keys=50)

    async def write(start: int) -> int:
        number = start
        while not stop.is_set():
            await add_lines(router, await add_products(router, 3), first=number)
            number += 3
            await run(
                router,
                "catalog",
                "delete from public.products where id in"
                " (select id from public.products order by id limit 2)",
            )
        return number - start

    async with asyncio.TaskGroup() as group:
        writers = [group.create_task(write(start)) for start in (10**6, 10**9)]
        try:
            for _ in range(8):
                report = await sweep_reference(router, topology, LINES, limits=limits)
                assert report.orphans == 0
        finally:
            stop.set()
    assert sum(writer.result() for writer in writers) > 0
    assert (await sweep_reference(router, topology, LINES)).tombstoned > 0


async def test_a_reference_to_a_column_that_is_not_there_is_reported(
    router: Router, topology: Topology
) -> None:
    broken = Reference.declare("sales.lines.article_id", to="catalog.products.id")
    with pytest.raises(ReferenceBroken, match=r"no column 'lines\.article_id'"):
        await sweep_reference(router, topology, broken)


async def test_a_reference_between_types_that_never_match_is_reported(
    router: Router, topology: Topology
) -> None:
    broken = Reference.declare("sales.labels.code", to="catalog.products.id")
    with pytest.raises(ReferenceBroken, match="text refers to uuid"):
        await sweep_reference(router, topology, broken)
