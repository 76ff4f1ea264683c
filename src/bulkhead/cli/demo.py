"""`bulkhead demo`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from bulkhead.cli.output import EXIT_FINDINGS, Output, is_terminal
from bulkhead.cli.session import run
from bulkhead.cli.verb import Verb

if TYPE_CHECKING:
    from bulkhead.demo.dataset import Dataset

DATA = Path(__file__).parents[4] / "shared" / "data" / "commerce" / "online_retail.csv.gz"
"""Where the file lies beside a checkout."""
INVOICES = 3000
BAR = 30


@click.command(
    cls=Verb,
    examples=[
        "bulkhead demo",
        "bulkhead demo --limit 500 --clients 4",
    ],
)
@click.option("--data", type=click.Path(path_type=Path), help="Online Retail as CSV or CSV.gz.")
@click.option(
    "--limit",
    type=click.IntRange(min=0),
    default=INVOICES,
    show_default=True,
    help="How many invoices; 0 is all of them.",
)
@click.option("--clients", type=click.IntRange(1, 64), default=8, show_default=True)
@click.pass_obj
def demo(output: Output, *, data: Path | None, limit: int, clients: int) -> int:
    """Replay real orders through the HTTP API and prove that all is well.

    Starts a server of its own on databases of its own, in a temporary folder unless --home is
    given, and sells a year of a real shop: UCI Online Retail, or an order book that is made up
    where that file is not at hand. Then the figures of the databases are compared with those of
    the invoices. Exit code 7 when something cannot be proven.
    """
    from bulkhead.demo.run import Watcher, run_demo

    dataset = _dataset(output, data, limit)
    home = Path(output.home) if output.home else None
    watcher = Watcher(output.step, _progress(output))
    report = run(run_demo(dataset, home=home, clients=clients, watcher=watcher))
    output.data(report.to_json(), text=report.to_text())
    return 0 if report.holds else EXIT_FINDINGS


def _dataset(output: Output, data: Path | None, limit: int) -> Dataset:
    from bulkhead.demo.generated import generate_retail
    from bulkhead.demo.retail import load_retail

    path = data or DATA
    if data is None and not path.is_file():
        output.note(
            f"There is no {path.name} here, so an order book is made up. The real one: doi\n"
            "10.24432/C5BW33 at the UCI Machine Learning Repository; give it with --data PATH."
        )
        return generate_retail(limit)
    output.step(f"Reading {path.name}")
    return load_retail(path, limit)


class _Bar:
    """A line on the terminal that is written again whenever another percent is done."""

    def __init__(self) -> None:
        self._percent = -1

    def __call__(self, done: int, total: int) -> None:
        percent = 100 * done // total
        if percent == self._percent:
            return
        self._percent = percent
        full = "█" * (BAR * done // total)
        click.echo(f"\r  {full.ljust(BAR, '░')} {percent:3d} %", err=True, nl=done == total)


def _progress(output: Output) -> _Bar | None:
    return _Bar() if is_terminal() and not output.quiet else None
