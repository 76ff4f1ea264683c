"""`bulkhead explain`: what the code of an error means."""

import difflib

import click

from bulkhead.cli.output import Output
from bulkhead.cli.verb import Verb


@click.command(cls=Verb, examples=["bulkhead explain not_found"])
@click.argument("code")
@click.pass_obj
def explain(output: Output, *, code: str) -> None:
    """Say what the error CODE means, and what to do about it."""
    from bulkhead.engine.errors import NotFound
    from bulkhead.web.error_catalogue import describe_errors, load_errors

    load_errors()
    errors = {error["code"]: error for error in describe_errors()}
    found = errors.get(code)
    if found is None:
        near = difflib.get_close_matches(code, errors, n=1)
        meant = f" (did you mean '{near[0]}'?)" if near else ""
        raise NotFound(what=f"An error with the code '{code}'{meant}")
    lines = [f"{code}, HTTP status {found['status']}", found["message"]]
    if found["hint"]:
        lines.append(f"What to do: {found['hint']}")
    if found["retry_after_s"] is not None:
        lines.append(f"Worth repeating after {found['retry_after_s']} s.")
    output.data(found, text="\n".join(lines))
