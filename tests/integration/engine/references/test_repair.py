import pytest
from tests.integration.engine.references.rows import (
    add_gifts,
    add_lines,
    add_products,
    open_violations,
    rows,
    run,
    value,
)
from tests.integration.engine.references.shop_application import GIFTS, LINES, NUMBERS, WISHES

from bulkhead.engine import failpoints
from bulkhead.engine.connections.router import Router
from bulkhead.engine.ids import new_id
from bulkhead.engine.references import repair as repairs
from bulkhead.engine.references.repair import (
    AFTER_BATCH,
    AFTER_RECREATE,
    Repair,
    RepairAction,
    RepairImpossible,
    apply_repair,
    plan_repair,
)
from bulkhead.engine.references.sweep import sweep_reference
from bulkhead.engine.topology import Reference, Topology

PLACEHOLDER = (
    "insert into public.products (id, name)"
    " select key::uuid, 'lost' from unnest($1::text[]) as key on conflict do nothing"
)


async def sweep(router: Router, topology: Topology, reference: Reference) -> int:
    return (await sweep_reference(router, topology, reference)).orphans


async def test_a_plan_says_what_would_be_done_and_changes_nothing(
    router: Router, topology: Topology
) -> None:
    products = await add_products(router, 3)
    orphan, other = sorted([new_id(), new_id()])
    await add_lines(router, [*products, orphan, orphan, other])
    await sweep(router, topology, LINES)
    plan = await plan_repair(router, topology, Repair(LINES, RepairAction.SET_NULL))
    assert (plan.rows, plan.targets, plan.healed) == (3, 2, 0)
    assert [row.source_key for row in plan.sample] == ["4", "5", "6"]
    assert 'set "product_id" = null' in plan.statement
    assert len(await open_violations(router, LINES.name)) == 3
    assert await value(router, "sales", "select count(product_id) from public.lines") == 6


async def test_null_empties_the_column_of_orphans_only(router: Router, topology: Topology) -> None:
    products = await add_products(router, 3)
    await add_lines(router, [*products, new_id()])
    await sweep(router, topology, LINES)
    report = await apply_repair(router, topology, Repair(LINES, RepairAction.SET_NULL))
    assert report.rows == 1
    left = await rows(router, "sales", "select product_id from public.lines order by id")
    assert [key for (key,) in left] == [*products, None]
    assert await open_violations(router, LINES.name) == []
    assert (
        await value(router, "sales", "select resolution from bulkhead.reference_violations")
        == "set_null"
    )


async def test_delete_takes_the_row_away_also_under_a_key_of_two_columns(
    router: Router, topology: Topology
) -> None:
    products = await add_products(router, 4)
    await add_gifts(router, [products[0], new_id(), *products[1:], new_id()])
    await sweep(router, topology, GIFTS)
    report = await apply_repair(router, topology, Repair(GIFTS, RepairAction.DELETE))
    assert report.rows == 2
    left = await rows(router, "sales", "select slot from public.gifts order by slot")
    assert [slot for (slot,) in left] == [1, 3, 4, 5]


async def test_recreate_puts_a_placeholder_where_the_row_is_missing(
    router: Router, topology: Topology
) -> None:
    orphan = new_id()
    await add_lines(router, [orphan, orphan])
    await sweep(router, topology, LINES)
    repair = Repair(LINES, RepairAction.RECREATE, placeholder=PLACEHOLDER)
    assert (await apply_repair(router, topology, repair)).rows == 2
    assert await value(router, "catalog", "select name from public.products") == "lost"
    assert await sweep(router, topology, LINES) == 0


async def test_recreate_fails_when_the_placeholder_makes_no_row(
    router: Router, topology: Topology
) -> None:
    await add_lines(router, [new_id()])
    await sweep(router, topology, LINES)
    repair = Repair(LINES, RepairAction.RECREATE, placeholder="select $1::text[]")
    with pytest.raises(RepairImpossible, match="no row was made"):
        await apply_repair(router, topology, repair)
    assert len(await open_violations(router, LINES.name)) == 1


async def test_what_is_ignored_is_kept_with_its_reason_and_not_repaired_later(
    router: Router, topology: Topology
) -> None:
    await add_lines(router, [new_id()])
    await sweep(router, topology, LINES)
    await apply_repair(
        router, topology, Repair(LINES, RepairAction.IGNORE, reason="imported without a catalog")
    )
    assert await sweep(router, topology, LINES) == 0
    reason = await value(router, "sales", "select reason from bulkhead.reference_violations")
    assert reason == "imported without a catalog"
    report = await apply_repair(router, topology, Repair(LINES, RepairAction.DELETE))
    assert report.rows == 0
    assert await value(router, "sales", "select count(*) from public.lines") == 1


async def test_an_orphan_that_has_healed_is_left_alone(router: Router, topology: Topology) -> None:
    found, changed = new_id(), new_id()
    products = await add_products(router, 1)
    await add_lines(router, [found, changed])
    await sweep(router, topology, LINES)
    await run(router, "catalog", "insert into public.products (id) values ($1)", found)
    await run(router, "sales", "update public.lines set product_id = $1 where id = 2", products[0])
    repair = Repair(LINES, RepairAction.DELETE)
    plan = await plan_repair(router, topology, repair)
    assert (plan.rows, plan.healed) == (0, 2)
    report = await apply_repair(router, topology, repair)
    assert (report.rows, report.healed) == (0, 2)
    assert await value(router, "sales", "select count(*) from public.lines") == 2


async def test_a_target_deleted_under_restrict_can_be_repaired(
    router: Router, topology: Topology
) -> None:
    await run(router, "sales", "insert into public.labels values (1, null, 4)")
    await run(router, "catalog", "select bulkhead.bury('numbers', '{4}')")
    await sweep(router, topology, NUMBERS)
    report = await apply_repair(router, topology, Repair(NUMBERS, RepairAction.SET_NULL))
    assert report.rows == 1


@pytest.mark.parametrize("point", [AFTER_BATCH, AFTER_RECREATE])
async def test_a_repair_that_dies_is_simply_repeated(
    router: Router, topology: Topology, point: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repairs, "BATCH_MAX", 2)
    await add_lines(router, [new_id() for _ in range(5)])
    await sweep(router, topology, LINES)
    repair = Repair(LINES, RepairAction.RECREATE, placeholder=PLACEHOLDER)
    failpoints.arm(point)
    with pytest.raises(failpoints.FailpointReached):
        await apply_repair(router, topology, repair)
    await apply_repair(router, topology, repair)
    assert await value(router, "catalog", "select count(*) from public.products") == 5
    assert await sweep(router, topology, LINES) == 0
    assert await open_violations(router, LINES.name) == []


async def test_a_column_that_must_not_be_empty_is_not_emptied(
    router: Router, topology: Topology
) -> None:
    with pytest.raises(RepairImpossible, match="must not be empty"):
        await plan_repair(router, topology, Repair(WISHES, RepairAction.SET_NULL))
