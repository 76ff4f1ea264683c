import datetime as dt
from dataclasses import replace

import pytest

from bulkhead.engine.migrations.files import Migration, MigrationSet, build_set, parse_migration
from bulkhead.engine.migrations.plan import (
    DatabaseAhead,
    Direction,
    MigrationChanged,
    MigrationOutOfOrder,
    MigrationUnknown,
    Plan,
    PlanStale,
    plan_apply,
    plan_rollback,
)
from bulkhead.engine.migrations.registry import Applied
from bulkhead.engine.migrations.status import compare

AT = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


def migrations(namespace: str, count: int) -> MigrationSet:
    return build_set(
        namespace,
        [
            parse_migration(
                namespace,
                f"{version:04}_step.sql",
                f"create table t{version} ();\n-- migrate:down\ndrop table t{version};",
            )
            for version in range(1, count + 1)
        ],
    )


def row(migration: Migration) -> Applied:
    return Applied(
        migration.namespace,
        migration.version,
        migration.name,
        migration.checksum,
        migration.up,
        migration.down,
        AT,
        "admin",
        1,
    )


def rows(*sets: MigrationSet) -> list[Applied]:
    return [row(migration) for each in sets for migration in each.migrations]


def labels(plan: Plan) -> list[str]:
    return [f"{step.direction} {step.migration.file}" for step in plan.steps]


ENGINE = migrations("engine", 2)
SHOP = migrations("shop", 3)
SHOP_AT_1 = migrations("shop", 1)


def test_an_empty_database_gets_everything_set_after_set() -> None:
    assert labels(plan_apply("d", [ENGINE, SHOP], [])) == [
        "up engine/0001_step.sql",
        "up engine/0002_step.sql",
        "up shop/0001_step.sql",
        "up shop/0002_step.sql",
        "up shop/0003_step.sql",
    ]


def test_only_what_is_missing_is_planned() -> None:
    plan = plan_apply("d", [ENGINE, SHOP], rows(ENGINE, SHOP_AT_1))
    assert labels(plan) == ["up shop/0002_step.sql", "up shop/0003_step.sql"]


def test_a_current_database_has_nothing_to_do() -> None:
    assert plan_apply("d", [ENGINE, SHOP], rows(ENGINE, SHOP)).steps == ()


def test_a_target_bounds_its_own_set_only() -> None:
    plan = plan_apply("d", [ENGINE, SHOP], rows(ENGINE), {"shop": 2})
    assert labels(plan) == ["up shop/0001_step.sql", "up shop/0002_step.sql"]


def test_a_target_behind_the_database_takes_nothing_back() -> None:
    assert plan_apply("d", [SHOP], rows(SHOP), {"shop": 1}).steps == ()


@pytest.mark.parametrize("target", [{"shop": 4}, {"shop": -1}, {"elsewhere": 1}])
def test_a_target_must_exist(target: dict[str, int]) -> None:
    with pytest.raises(MigrationUnknown):
        plan_apply("d", [SHOP], [], target)


def test_a_file_that_changed_after_it_was_applied_is_refused() -> None:
    changed = replace(rows(SHOP_AT_1)[0], checksum="other")
    with pytest.raises(MigrationChanged, match="0001_step"):
        plan_apply("d", [SHOP], [changed])


def test_a_database_ahead_of_the_program_is_refused() -> None:
    with pytest.raises(DatabaseAhead, match="shop/0002_step"):
        plan_apply("d", [SHOP_AT_1], rows(SHOP))


def test_a_migration_that_came_late_is_refused() -> None:
    first, _, third = rows(SHOP)
    with pytest.raises(MigrationOutOfOrder, match="0002_step"):
        plan_apply("d", [SHOP], [first, third])


def test_namespaces_of_another_release_are_left_alone() -> None:
    assert plan_apply("d", [SHOP], rows(ENGINE, SHOP)).steps == ()


def test_the_way_down_goes_newest_first_through_the_sets_backwards() -> None:
    plan = plan_rollback("d", [ENGINE, SHOP], rows(ENGINE, SHOP), {"engine": 1, "shop": 1})
    assert labels(plan) == [
        "down shop/0003_step.sql",
        "down shop/0002_step.sql",
        "down engine/0002_step.sql",
    ]
    assert {step.direction for step in plan.steps} == {Direction.DOWN}


def test_what_this_program_does_not_know_is_taken_back_from_the_registry() -> None:
    plan = plan_rollback("d", [SHOP_AT_1], rows(SHOP), {"shop": 1})
    assert [each.text for step in plan.steps for each in step.migration.down_statements] == [
        "drop table t3",
        "drop table t2",
    ]


def test_a_rollback_of_an_unknown_namespace_is_refused() -> None:
    with pytest.raises(MigrationUnknown):
        plan_rollback("d", [SHOP], rows(SHOP), {"elsewhere": 0})


def test_the_hash_pins_database_state_and_text() -> None:
    plan = plan_apply("d", [SHOP], rows(SHOP_AT_1))
    assert plan.hash == plan_apply("d", [SHOP], rows(SHOP_AT_1)).hash
    others = [
        plan_apply("other", [SHOP], rows(SHOP_AT_1)),
        plan_apply("d", [SHOP], []),
        plan_apply("d", [SHOP], rows(SHOP_AT_1), {"shop": 2}),
        plan_rollback("d", [SHOP], rows(SHOP_AT_1), {"shop": 0}),
    ]
    assert plan.hash not in {other.hash for other in others}
    plan.check_hash(plan.hash)
    plan.check_hash(None)
    with pytest.raises(PlanStale):
        plan.check_hash("another")


def test_the_status_tells_pending_changed_and_unknown_apart() -> None:
    first, second, third = rows(SHOP)
    status = compare("d", [migrations("shop", 2)], [replace(first, checksum="other"), third])
    (shop,) = status.namespaces
    assert shop.changed == ("0001_step",)
    assert shop.pending == ("0002_step",)
    assert shop.unknown == ("0003_step",)
    assert not status.is_current
    assert compare("d", [SHOP], [first, second, third, *rows(ENGINE)]).foreign == ("engine",)
    assert compare("d", [SHOP], rows(SHOP)).is_current
