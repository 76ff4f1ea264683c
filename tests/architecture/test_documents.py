"""What the documents say is there: where links lead, files, commands and their options."""

import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import click
import pytest
from tests.architecture.test_tree import ROOT, tracked_files

from bulkhead.cli.main import COMMANDS, cli

FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"(?<!`)`([^`]+)`(?!`)")
LINK = re.compile(r"\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
PATH = re.compile(r"[\w./-]+\.(?:py|sql|sh|html|js)")
COMMAND = re.compile(r"(?:^|[\s(])(?:\.venv/bin/)?bulkhead ([^|;#)\n]+)")
HINT = re.compile(r"^What to do: .*\bbulkhead .*$", re.MULTILINE)
INVENTED = {"docs/tutorial.md", "CHANGELOG.md"}
"""Documents that name files which their reader makes, or that are gone."""
MEASURED = {"benches/RESULTS.md"}
"""Documents in which commands stand beside figures."""


@cache
def documents() -> dict[str, str]:
    """The text of each document by its path."""
    paths = [path for path in tracked_files() if path.suffix == ".md"]
    return {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in paths}


def anchors(text: str) -> set[str]:
    """What the headings can be linked by, as GitHub and others make it."""
    headings = HEADING.findall(FENCE.sub("", text))
    return {re.sub(r"[^\w\- ]", "", each.lower()).replace(" ", "-") for each in headings}


def dead_links(name: str, text: str) -> Iterator[str]:
    """The links of a document that lead to no file or no heading."""
    for link in LINK.findall(FENCE.sub("", text)):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (ROOT / name).parent / path if path else None
        is_there = target is None or target.exists()
        if is_there and anchor:
            is_there = anchor in anchors(text if target is None else target.read_text("utf-8"))
        if not is_there:
            yield f"{name}: {link}"


def commands(text: str) -> Iterator[str]:
    """The command lines of `bulkhead` that a document shows, without their name."""
    shown = [body.replace("\\\n", " ") for _, body in FENCE.findall(text)]
    shown += INLINE.findall(FENCE.sub("", text))
    shown += [hint.replace("`", "\n") for hint in HINT.findall(text)]
    for piece in shown:
        for line in COMMAND.findall(piece):
            yield line.split(". ")[0].strip(" .")


def misfit(line: str) -> str | None:
    """What of a command line there is not; None for one that can be typed."""
    try:
        words = shlex.split(line)
    except ValueError:
        words = line.split()
    words = [word.rstrip(":,") for word in words]
    command: click.Command = cli
    context = click.Context(cli)
    known = {option for each in cli.params for option in each.opts}
    for word in words:
        if word.startswith("-"):
            if word not in ("--", "-h", "--help") and word.split("=")[0] not in known:
                return word
        elif isinstance(command, click.Group) and re.fullmatch(r"[a-z-]+", word):
            found = command.get_command(context, word)
            if found is None:
                return word
            command = found
            known |= {o for each in found.params for o in (*each.opts, *each.secondary_opts)}
        if word == "--":
            break
    return None


def test_links_lead_somewhere() -> None:
    assert [link for name, text in documents().items() for link in dead_links(name, text)] == []


def test_a_dead_link_is_noticed() -> None:
    text = "[a](docs/glossary.md) [b](docs/nowhere.md) [c](#here) [d](#there)\n\n# Here\n"
    found = list(dead_links("README.md", text))
    assert found == ["README.md: docs/nowhere.md", "README.md: #there"]


def test_files_that_are_named_are_there() -> None:
    there = ["/" + str(path.relative_to(ROOT)) for path in tracked_files()]
    missing = [
        f"{name}: {path}"
        for name, text in documents().items()
        if name not in INVENTED
        for path in INLINE.findall(FENCE.sub("", text))
        if PATH.fullmatch(path) and not any(each.endswith("/" + path) for each in there)
    ]
    assert missing == []


def test_commands_that_are_named_can_be_typed() -> None:
    """Hints are among them: the reference of errors has them all."""
    refused = [
        f"{name}: bulkhead {line}: {word}"
        for name, text in documents().items()
        if name not in MEASURED
        for line in commands(text)
        if (word := misfit(line)) is not None
    ]
    assert refused == []


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("tenant list", None),
        ("--json tenant show STORE", None),
        ("migrate apply -a store_platform --tenants", None),
        ("tenant forget", "forget"),
        ("tenant list --sideways", "--sideways"),
        ("elucidate", "elucidate"),
    ],
)
def test_a_command_that_is_none_is_noticed(line: str, word: str | None) -> None:
    assert misfit(line) == word


@pytest.mark.parametrize("noun", COMMANDS)
def test_the_reference_of_the_command_line_lists_every_verb(noun: str) -> None:
    reference = documents()["docs/reference/cli.md"]
    begins = re.compile(rf"\| (?:.* · )?`{noun}\b")
    rows = [line for line in reference.splitlines() if begins.match(line)]
    assert rows, f"'{noun}' is missing"
    command = cli.get_command(click.Context(cli), noun)
    verbs = command.commands if isinstance(command, click.Group) else ()
    assert [verb for verb in verbs if not any(re.search(rf"\b{verb}\b", row) for row in rows)] == []


def test_decisions_are_numbered_without_gaps() -> None:
    names = sorted(name for name in documents() if name.startswith("docs/decisions/"))
    numbers = [int(Path(name).name[:4]) for name in names]
    assert numbers == list(range(1, len(names) + 1))
    for number, name in zip(numbers, names, strict=True):
        assert documents()[name].startswith(f"# {number}. "), name
