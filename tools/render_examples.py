"""Write how commands are typed into docs/reference/cli.md, or check that it is current.

`python tools/render_examples.py` writes what stands below its last heading; with `--check` the
exit code is 1 when that is not what the commands' help says.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import click

from bulkhead.cli.main import COMMANDS, cli
from bulkhead.cli.verb import Verb, fold

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "cli.md"
HEADING = "## Examples\n"
WIDTH = 100
HEAD = """
The help of each command begins with these. `python tools/render_examples.py` writes them here.
"""


def main(arguments: list[str]) -> int:
    """Write or check the examples of the page; return the exit code."""
    page = PAGE.read_text(encoding="utf-8")
    current = page.partition(HEADING)[0] + HEADING + render_examples()
    if "--check" not in arguments:
        PAGE.write_text(current, encoding="utf-8")
        return 0
    if page == current:
        return 0
    print("docs/reference/cli.md is not current. Run: python tools/render_examples.py")
    return 1


def render_examples() -> str:
    """What stands below the heading: a block for each noun, and one for the verbs without one."""
    blocks: dict[str, list[str]] = {}
    for path, verb in list_verbs():
        noun = path[0] if len(path) > 1 else ""
        blocks.setdefault(noun, []).extend(fold(line, WIDTH) for line in verb.examples)
    shown = ["\n".join(["```console", *lines, "```"]) for lines in blocks.values()]
    return "\n".join([HEAD, "\n\n".join(shown), ""])


def list_verbs() -> Iterator[tuple[list[str], Verb]]:
    """Every verb with the words that lead to it: `event`, `dead`, `list`."""
    context = click.Context(cli)
    left = [([name], cli.get_command(context, name)) for name in COMMANDS]
    while left:
        path, command = left.pop(0)
        match command:
            case click.Group():
                found = command.commands.items()
                left[:0] = [([*path, name], each) for name, each in found]
            case Verb():
                yield path, command


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
