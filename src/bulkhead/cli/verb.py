"""Commands whose help shows how they are typed, before it lists what they take."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from typing import Any

import click

PROMPT = "$ "
CONTINUED = " \\\n    "
"""How a shell is told that a command goes on in the next line."""
MARGIN = len("     \\")
"""Columns that the indent of such a line and the backslash at its end take."""


class Verb(click.Command):
    """A command with examples.

    Args:
        arguments: What click.Command takes.
        examples: Whole command lines, as they are typed: `bulkhead tenant move my-shop`.
        options: What click.Command takes.
    """

    def __init__(
        self,
        *arguments: Any,  # noqa: ANN401 - click's
        examples: Sequence[str] = (),
        **options: Any,  # noqa: ANN401 - click's
    ) -> None:
        super().__init__(*arguments, **options)
        self.examples = tuple(examples)

    def get_short_help_str(self, limit: int = 45) -> str:
        """The whole first sentence, in as many lines as it needs: half of one says nothing."""
        return super().get_short_help_str(max(limit, len(self.help or "")))

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples, and then the options."""
        if self.examples:
            with formatter.section("Examples"):
                for line in self.examples:
                    folded = fold(line, formatter.width - formatter.current_indent)
                    formatter.write(textwrap.indent(folded, formatter.current_indent * " ") + "\n")
        super().format_options(ctx, formatter)


class Noun(click.Group):
    """A group of verbs."""

    command_class = Verb
    group_class = type


def fold(line: str, width: int) -> str:
    """A command line with its prompt, in as many lines of `width` columns as it needs.

    Every option stays beside its value.
    """
    first, *pieces = re.split(r" (?=--?\w)", PROMPT + line)
    lines = [first]
    for piece in pieces:
        if len(lines[-1]) + 1 + len(piece) > width - MARGIN:
            lines.append(piece)
        else:
            lines[-1] += f" {piece}"
    return CONTINUED.join(lines)
