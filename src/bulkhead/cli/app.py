"""`bulkhead app`."""

from __future__ import annotations

import click

from bulkhead.cli.output import Output
from bulkhead.cli.session import run_opened
from bulkhead.cli.verb import Noun


@click.group(cls=Noun)
def app() -> None:
    """List applications and load their sample data."""


@app.command("list", examples=["bulkhead app list"])
@click.pass_obj
def list_apps(output: Output) -> None:
    """List the applications with their databases in deploy order."""
    from bulkhead.apps import NAMES, load_application

    rows = []
    for name in NAMES:
        application = load_application(name)
        order = application.topology.deploy_order
        rows.append(
            {
                "name": name,
                "title": application.title,
                "databases": ", ".join(database.name for database in order),
                "tables": sum(len(database.tables) for database in order),
                "references": len(application.topology.references),
            }
        )
    output.rows(("name", "title", "databases", "tables", "references"), rows)


@app.command("sample", examples=["bulkhead app sample store_platform"])
@click.argument("name", default="commerce")
@click.pass_obj
def load_sample(output: Output, *, name: str) -> None:
    """Load the sample data of an application; what is there already stays."""
    from bulkhead.engine.system import System

    async def work(system: System) -> list[str]:
        if system.application.load_sample is None:
            return []
        return list(await system.application.load_sample(system))

    lines = run_opened(output, name, work)
    output.data({"loaded": lines}, text="\n".join(lines) or "There is no sample data.")
