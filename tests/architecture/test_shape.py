"""The package has the shape it should have, and the checker would notice if it had not."""

from pathlib import Path

import pytest
from check_shape import check_applications, check_module, check_queries, main

ROOT = Path(__file__).parents[2]


def codes(source: str, name: str = "web/module.py") -> list[str]:
    return [code for _, code, _ in check_module(source, name)]


def test_the_package_has_its_shape(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(ROOT / "src" / "bulkhead", ROOT / "tests") == 0, capsys.readouterr().out


def test_a_giant_among_tests_is_noticed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "test_short.py").write_text("x = 1\n" * 400)
    giant = tmp_path / "unit" / "test_giant.py"
    giant.parent.mkdir()
    giant.write_text("x = 1\n" * 401)
    assert main(tmp_path / "nothing", tmp_path) == 1
    assert capsys.readouterr().out.startswith(f"{giant}:1: size-file ")


def test_a_giant_is_noticed() -> None:
    assert codes("x = 1\n" * 401) == ["size-file"]
    assert codes("def f():\n" + "    x = 1\n" * 60) == ["size-function"]
    assert codes("def f():\n" + "    x = 1\n" * 59) == []


@pytest.mark.parametrize(
    "sql",
    [
        "select a from b",
        " SELECT a\nFROM b",
        "insert into a values (1)",
        "update a set b = 1",
        "delete from a",
        "with a as (select 1) select 2",
    ],
)
def test_sql_outside_of_its_home_is_noticed(sql: str) -> None:
    source = f'x = """{sql}"""\n'
    assert codes(source) == ["sql"]
    assert codes(source, "engine/messaging/outbox.py") == []


def test_words_that_are_no_sql_are_left_alone() -> None:
    assert codes('"""Select one from these."""\nx = "with care, as ever"\n') == []


def test_a_transaction_is_ended_by_the_engine_only() -> None:
    assert codes("def f(tx):\n    tx.commit()\n") == ["commit"]
    assert codes("def f(tx):\n    tx.rollback()\n", "engine/connections/x.py") == []


def test_a_line_may_be_excused_with_a_reason() -> None:
    assert codes("def f(tx):\n    tx.commit()  # shape: commit, a repository of git\n") == []


def test_a_use_case_names_its_transaction_first() -> None:
    name = "apps/shop/orders/checkout/service.py"
    assert codes("async def place_order(cart, tx): ...\n", name) == ["service-signature"]
    assert codes("async def place_order(tx, cart): ...\n", name) == []
    assert codes("async def _price(cart): ...\n", name) == []


def test_a_query_lists_its_columns_and_says_what_it_does() -> None:
    good = "-- name: get_order\n-- Read one order.\nselect id, count(*) from orders -- a.*\n"
    assert list(check_queries(good)) == []
    bad = "-- name: get_order\nselect orders.* from orders\n"
    assert [code for _, code, _ in check_queries(bad)] == ["sql-sentence", "sql-star"]


def test_an_application_and_its_slices_hold_only_what_belongs_there(tmp_path: Path) -> None:
    slice_ = tmp_path / "shop" / "orders" / "checkout"
    slice_.mkdir(parents=True)
    (slice_ / "service.py").touch()
    (slice_ / "tools.py").touch()
    (tmp_path / "shop" / "topology.py").touch()
    (tmp_path / "shop" / "settings.py").touch()
    found = {(path.name, code) for path, _, code, _ in check_applications(tmp_path)}
    assert found == {
        ("shop", "shape-application"),
        ("settings.py", "shape-application"),
        ("orders", "shape-database"),
        ("tools.py", "shape-slice"),
    }
