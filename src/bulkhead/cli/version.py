"""`bulkhead version`."""

import click

from bulkhead import __version__
from bulkhead.cli.output import Output
from bulkhead.cli.verb import Verb


@click.command(cls=Verb, examples=["bulkhead version"])
@click.pass_obj
def version(output: Output) -> None:
    """Print the version."""
    output.data({"version": __version__}, text=f"bulkhead {__version__}")
