"""Every failure has a code of its own, and the reference says what it means."""

import string
from collections import defaultdict

import pytest
from click.testing import CliRunner
from render_errors import PAGE, render_page

from bulkhead.cli.main import cli
from bulkhead.engine.errors import BulkheadError, NotFound
from bulkhead.web.error_catalogue import load_errors

ERRORS = load_errors()


def test_every_code_belongs_to_one_class() -> None:
    owners = defaultdict(list)
    for error in ERRORS:
        owners[error.code].append(error.__qualname__)
    assert {code: names for code, names in owners.items() if len(names) > 1} == {}


def test_the_reference_of_errors_is_current() -> None:
    assert PAGE.read_text(encoding="utf-8") == render_page(ERRORS), (
        "run: python tools/render_errors.py"
    )


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: error.code)
def test_an_error_says_what_happened(error: type[BulkheadError]) -> None:
    assert error.code == error.code.lower()
    assert error.code.replace("_", "").isalnum()
    assert error.status in (202, 300) or 400 <= error.status <= 599
    text = (error.__doc__ or "").split("\n\n")[0].strip()
    assert text.endswith("."), "the docstring is the message: a whole sentence"
    # A malformed placeholder would leave the message unfilled without a word.
    assert all(name != "" for _, name, _, _ in string.Formatter().parse(text))


def test_the_command_line_explains_a_code() -> None:
    told = CliRunner().invoke(cli, ["explain", "pooler_exhausted"])
    assert told.exit_code == 0
    assert "HTTP status 503" in told.stdout
    assert "What to do: Repeat the request." in told.stdout
    assert "Worth repeating after 1 s." in told.stdout


def test_the_command_line_suggests_a_code_for_one_that_there_is_not() -> None:
    told = CliRunner().invoke(cli, ["explain", "pooler_exausted"])
    assert isinstance(told.exception, NotFound)
    assert "pooler_exhausted" in str(told.exception)
    assert told.stdout == ""
