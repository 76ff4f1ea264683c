"""What commands print: data on stdout, everything else on stderr."""

from __future__ import annotations

import datetime as dt
import json
import os
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from bulkhead.engine.errors import BulkheadError

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_CONFIGURATION = 3
EXIT_NOT_FOUND = 4
EXIT_CONFLICT = 5
EXIT_UNREACHABLE = 6
EXIT_FINDINGS = 7
"""A check found something: drift, orphans, lints, violated invariants."""
EXIT_PENDING = 8
"""Done here; a server that was away hears of it later."""

UNITS = ("B", "kB", "MB", "GB", "TB")
CELL_MAX = 60
LAST_MIN = 12
"""Characters of the last column that are always shown."""
_CODES = {
    400: EXIT_USAGE,
    404: EXIT_NOT_FOUND,
    409: EXIT_CONFLICT,
    422: EXIT_USAGE,
    503: EXIT_UNREACHABLE,
}


@dataclass(frozen=True, slots=True)
class Output:
    """How this run of the command line prints, and which home it works on."""

    as_json: bool = False
    quiet: bool = False
    home: str | None = None

    def data(self, value: Any, *, text: str | None = None) -> None:  # noqa: ANN401
        """Print a value: as JSON, or as `text` for people."""
        if self.as_json:
            click.echo(json.dumps(value, indent=2, default=str))
        else:
            click.echo(text if text is not None else _pairs(value))

    def rows(
        self, columns: Sequence[str], rows: Iterable[Mapping[str, Any]], *, whole: bool = False
    ) -> None:
        """Print rows: as a JSON list, or as an aligned table that shortens unless `whole`."""
        items = [{column: row.get(column) for column in columns} for row in rows]
        if self.as_json:
            click.echo(json.dumps(items, indent=2, default=str))
        elif items:
            click.echo(_table(columns, items, CELL_MAX if not whole else None))
        else:
            self.note("nothing to show")

    def note(self, text: str) -> None:
        """Tell a person something; never part of the data."""
        if not self.quiet:
            click.echo(text, err=True)

    def step(self, text: str) -> None:
        """Tell of a finished step: dim on a terminal, a plain line elsewhere."""
        if not self.quiet:
            click.echo(click.style(text, dim=True) if is_terminal() else text, err=True)

    def fail(self, error: BulkheadError) -> None:
        """Print an error of ours, with its code and what to do next."""
        if self.as_json:
            click.echo(json.dumps({"error": error.to_json()}, indent=2, default=str))
            return
        click.echo(f"{_red('error')} [{error.code}] {error.message}", err=True)
        if error.advice:
            click.echo(f"  {error.advice}", err=True)

    def fail_usage(self, error: click.ClickException) -> None:
        """Print a mistake in the command itself."""
        if self.as_json:
            body = {"code": "usage", "message": error.format_message(), "hint": "Try --help."}
            click.echo(json.dumps({"error": body}, indent=2))
        else:
            error.show()


def is_terminal() -> bool:
    """Whether a person is watching."""
    return sys.stderr.isatty() and not {"NO_COLOR", "CI"} & os.environ.keys()  # noqa: TID251


def exit_code_of(error: BulkheadError) -> int:
    """The exit code that stands for an error."""
    if error.code.startswith(("configuration", "secret", "topology")):
        return EXIT_CONFIGURATION
    if error.code == "capability_missing":
        return EXIT_UNREACHABLE  # A server that refuses, as one does where rights are missing.
    return _CODES.get(error.status, EXIT_FAILED)


def _red(text: str) -> str:
    return click.style(text, fg="red", bold=True) if is_terminal() else text


def _pairs(value: Any) -> str:  # noqa: ANN401
    if not isinstance(value, Mapping):
        return str(value)
    width = max((len(str(key)) for key in value), default=0)
    return "\n".join(f"{str(key).ljust(width)}  {cell(item)}" for key, item in value.items())


def _table(columns: Sequence[str], rows: Sequence[Mapping[str, Any]], cell_max: int | None) -> str:
    cells = [[column.replace("_", " ") for column in columns]]
    cells += [[_shorten(cell(row[column]), cell_max) for column in columns] for row in rows]
    widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]
    if cell_max is not None:
        _fit(cells, widths)
    lines = [
        "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip()
        for line in cells
    ]
    if is_terminal():
        lines[0] = click.style(lines[0], bold=True)
    return "\n".join(lines)


def _fit(cells: list[list[str]], widths: list[int]) -> None:
    """Shorten the last column, often a sentence, to what the terminal has room for."""
    if not sys.stdout.isatty():
        return
    room = shutil.get_terminal_size().columns - sum(widths[:-1]) - 2 * (len(widths) - 1)
    if widths and widths[-1] > room >= LAST_MIN:
        widths[-1] = room
        for line in cells:
            line[-1] = _shorten(line[-1], room)


def cell(value: Any) -> str:  # noqa: ANN401
    """A value as people read it: nothing is a hyphen, and labels are `key=value`."""
    if value is None or value in ({}, [], ()):
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dt.datetime):
        return f"{value.astimezone(dt.UTC):%Y-%m-%d %H:%M}Z"
    if isinstance(value, Mapping) and all(isinstance(each, str) for each in value.values()):
        return ", ".join(f"{key}={each}" for key, each in value.items())
    if isinstance(value, Mapping | list | tuple):
        return json.dumps(value, default=str)
    return str(value)


def size_of(count: int) -> str:
    """Bytes in the largest unit of a thousand that leaves one before the point."""
    size = float(count)
    for unit in UNITS[:-1]:
        if size < 1000:  # noqa: PLR2004 - units are thousands
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} {UNITS[-1]}"


def _shorten(text: str, length_max: int | None) -> str:
    text = text.replace("\n", " ")
    if length_max is None or len(text) <= length_max:
        return text
    return text[: length_max - 1] + "…"
