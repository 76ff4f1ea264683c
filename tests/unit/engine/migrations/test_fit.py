"""What a program lacks of a database's migrations, and a database of a program's."""

from pathlib import Path

import pytest

from bulkhead.engine.migrations.files import Label, label_files
from bulkhead.engine.migrations.fit import verify_not_ahead, verify_not_behind
from bulkhead.engine.migrations.plan import DatabaseAhead, DatabaseBehind

ALL: tuple[Label, ...] = (
    ("engine", 1, "step"),
    ("engine", 2, "step"),
    ("shop", 1, "step"),
    ("shop", 2, "step"),
    ("shop", 3, "step"),
)


def test_a_database_that_has_had_everything_is_neither_behind_nor_ahead() -> None:
    had = (*ALL, ("vault", 7, "of another program"))
    verify_not_behind("shop", "orders", ALL, had)
    verify_not_ahead("orders", ALL, had)


@pytest.mark.parametrize(
    ("had", "told"),
    [
        (ALL[:-1], "lacks migration shop/0003_step, which this program needs."),
        (ALL[1:], "lacks migration engine/0001_step, which this program needs."),
        ((), "lacks migration engine/0001_step, which this program needs, and 4 more."),
    ],
)
def test_what_is_missing_is_named_with_how_it_is_applied(had: tuple[Label, ...], told: str) -> None:
    with pytest.raises(DatabaseBehind) as error:
        verify_not_behind("shop", "orders", ALL, had)
    assert error.value.message == f"Database 'orders' {told}"
    assert "bulkhead migrate apply -a shop." in error.value.advice


def test_what_only_a_newer_release_has_is_named() -> None:
    with pytest.raises(DatabaseAhead, match="has had migration engine/0003_later"):
        verify_not_ahead("orders", ALL, (*ALL, ("engine", 3, "later")))


def test_files_are_known_by_their_names(tmp_path: Path) -> None:
    for name in ("0002_more.sql", "0001_first.sql", "README.md", "notes.sql"):
        (tmp_path / name).write_text("not read")
    assert label_files("shop", tmp_path) == (("shop", 1, "first"), ("shop", 2, "more"))
