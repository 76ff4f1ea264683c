"""What is shown of verbs, and of the codes that one asks about."""

import pytest
from click.testing import CliRunner

from bulkhead.cli.explain import explain
from bulkhead.cli.output import Output
from bulkhead.cli.verb import Noun
from bulkhead.engine.errors import NotFound

SAID = "Take the rows of a store out of a database that it shares with others, and keep both."


def test_a_list_of_verbs_has_their_whole_first_sentences() -> None:
    noun = Noun("noun")
    noun.command("take", help=f"{SAID}\n\nMore of it.")(lambda: None)
    listed = CliRunner().invoke(noun, ["--help"]).output
    assert SAID.removesuffix(".") in " ".join(listed.split())
    assert "More of it" not in listed


def test_a_code_that_is_unknown_is_answered_with_the_nearest(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(NotFound, match=r"'not_fuond' \(did you mean 'not_found'\?\) was not found"):
        explain.main(["not_fuond"], obj=Output(), standalone_mode=False)
    assert capsys.readouterr().err == ""
