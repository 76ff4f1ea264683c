"""How something that takes its time is shown: a bar on a terminal, a line for each step else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import click

from bulkhead.cli.output import Output, is_terminal

if TYPE_CHECKING:
    from rich.progress import Progress

BAR_CELLS = 24


class LiveBar:
    """Shows how far something is, on stderr; gone from a terminal when the block is left.

    Where nobody watches, each state is one line, once: what repeats itself is told no more.
    """

    def __init__(self, output: Output) -> None:
        """Show nothing yet."""
        self._output = output
        self._told: set[str] = set()
        self._bar: Progress | None = None
        self._task: Any = None

    def __enter__(self) -> Self:
        """Begin to show."""
        if is_terminal() and not self._output.quiet:
            self._bar = _bar()
            self._task = self._bar.add_task("", total=100)
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Show no more."""
        if self._bar is not None:
            self._bar.stop()

    def tell(self, percent: int, text: str) -> None:
        """Say how far it is, from 0 to 100, and what it does."""
        if self._bar is not None:
            self._bar.update(self._task, completed=percent, description=text)
            return
        line = f"{percent:3} %  {text}"
        if line not in self._told:
            self._told.add(line)
            self._output.note(line)

    def note(self, text: str) -> None:
        """Say something that stays, above the bar."""
        if self._bar is not None:
            self._bar.console.print(text, markup=False, highlight=False)
        elif not self._output.quiet:
            click.echo(text, err=True)


def _bar() -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
    from rich.table import Column

    what = Column(no_wrap=True, overflow="ellipsis", ratio=1)
    return Progress(
        SpinnerColumn(),
        BarColumn(bar_width=BAR_CELLS),
        TextColumn("{task.percentage:>3.0f} %"),
        TextColumn("{task.description}", markup=False, table_column=what),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        expand=True,
        transient=True,
    )
