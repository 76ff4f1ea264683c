"""Every command shows how it is typed, and what it shows can be typed."""

import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from render_examples import PAGE, list_verbs, main
from tests.architecture.test_documents import misfit

from bulkhead.cli.main import COMMANDS, cli
from bulkhead.cli.verb import PROMPT, Noun, Verb, fold

VERBS = {" ".join(path): verb for path, verb in list_verbs()}
GLOBAL = {"--json"}
"""Options that stand anywhere, because main() moves them before the noun."""


def shown(path: str) -> list[list[str]]:
    """The words of each example in the help of a command, as a shell reads them."""
    answer = CliRunner().invoke(cli, [*path.split(), "--help"], prog_name="bulkhead")
    assert answer.exit_code == 0
    examples = answer.output.split("\nExamples:\n")[1].split("\n\nOptions:\n")[0]
    lines = examples.replace("\\\n", "").splitlines()
    return [shlex.split(line.strip().removeprefix(PROMPT)) for line in lines]


def parse(verb: click.Command, path: str, words: list[str], folder: Path) -> None:
    """Parse what follows the path; raises click.UsageError. Files that are named are there."""
    given = [word for word in words[1 + len(path.split()) :] if word not in GLOBAL]
    for word in given:
        if "/" not in word:
            (folder / word).touch()
    with CliRunner().isolation(input="a password\n"), verb.make_context(path, given):
        pass


def test_every_command_has_examples() -> None:
    assert [path for path, verb in VERBS.items() if not verb.examples] == []
    assert {path.split()[0] for path in VERBS} == set(COMMANDS)


@pytest.mark.parametrize("path", VERBS)
def test_what_the_help_of_a_command_shows_can_be_typed(
    path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = shown(path)
    assert [shlex.split(line) for line in VERBS[path].examples] == found
    for words in found:
        assert words[: 1 + len(path.split())] == ["bulkhead", *path.split()]
        assert misfit(shlex.join(words[1:])) is None
        parse(VERBS[path], path, words, tmp_path)


@pytest.mark.parametrize(
    "words",
    [
        "server add",
        "server add east --capacity many",
        "server add east west",
        "server add east --type oracle",
        "server add east --label eu",
        "server add east --sideways",
    ],
)
def test_what_cannot_be_typed_is_noticed(words: str, tmp_path: Path) -> None:
    with pytest.raises(click.UsageError):
        parse(VERBS["server add"], "server add", ["bulkhead", *words.split()], tmp_path)


def test_a_verb_that_is_made_without_examples_is_among_those_that_are_looked_at() -> None:
    noun = Noun("noun")
    noun.command("verb")(lambda: None)
    assert isinstance(noun.commands["verb"], Verb)


def test_an_example_is_folded_between_options_only() -> None:
    line = 'bulkhead tenant suspend my-shop --reason "it has not paid - twice" --yes'
    assert fold(line, 60) == (
        '$ bulkhead tenant suspend my-shop \\\n    --reason "it has not paid - twice" --yes'
    )
    assert fold(line, 200) == PROMPT + line


def test_the_reference_shows_them() -> None:
    assert main(["--check"]) == 0, f"{PAGE.name}: run python tools/render_examples.py"


def test_help_waits_for_nothing_that_takes_long_to_import() -> None:
    """What only work needs is imported when there is work; help imports every noun's module."""
    slow = ["asyncpg", "pydantic", "sqlalchemy", "fastapi", "httpx", "bulkhead.engine.system"]
    program = f"""
import sys
import click
from bulkhead.cli.main import COMMANDS, cli
for noun in COMMANDS:
    assert cli.get_command(click.Context(cli), noun) is not None
print(*(name for name in {slow} if name in sys.modules))
"""
    found = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)
    assert found.stdout.decode().split() == []
