import datetime as dt
import os
import sys

import pytest

from bulkhead.capabilities.identity.errors import EmailInvalid, PasswordWeak
from bulkhead.cli.output import EXIT_USAGE, Output, cell, exit_code_of

ROWS = [
    {"store": "tea-house", "state": "failed", "message": "No server has room for another one."},
    {"store": "lamps", "state": "active", "message": "Ready"},
]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        ({}, "-"),
        ([], "-"),
        (0, "0"),
        ("", ""),
        (True, "yes"),
        (False, "no"),
        ({"region": "eu", "tier": "gold"}, "region=eu, tier=gold"),
        ({"rows": 3}, '{"rows": 3}'),
        ([1, 2], "[1, 2]"),
        (dt.datetime(2026, 3, 1, 9, 5, tzinfo=dt.UTC), "2026-03-01 09:05Z"),
        (
            dt.datetime(2026, 3, 1, 1, 5, tzinfo=dt.timezone(dt.timedelta(hours=2))),
            "2026-02-28 23:05Z",
        ),
    ],
)
def test_values_are_shown_as_people_read_them(value: object, text: str) -> None:
    assert cell(value) == text


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (80, "No server has room for another one."),
        (40, "No server has room f…"),
        # Less than is worth showing: the terminal wraps it.
        (28, "No server has room for another one."),
    ],
)
def test_a_table_fits_a_terminal_by_its_last_column(
    columns: int,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setattr("shutil.get_terminal_size", lambda: os.terminal_size((columns, 24)))
    Output().rows(tuple(ROWS[0]), ROWS)
    assert capsys.readouterr().out.splitlines()[1:] == [
        f"tea-house  failed  {message}",
        "lamps      active  Ready",
    ]


def test_a_table_that_is_piped_is_not_cut(capsys: pytest.CaptureFixture[str]) -> None:
    Output().rows(tuple(ROWS[0]), ROWS)
    assert ROWS[0]["message"] in capsys.readouterr().out


def test_input_that_is_not_acceptable_has_one_exit_code_and_its_reason_stands_apart() -> None:
    weak = PasswordWeak(reason="It should be at least 8 characters.")
    assert weak.message == "The password is too weak (It should be at least 8 characters.)."
    assert {exit_code_of(weak), exit_code_of(EmailInvalid(reason="invalid format"))} == {EXIT_USAGE}
