"""What the options of several commands have in common."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

if TYPE_CHECKING:
    from pydantic import BaseModel, ValidationError

    from bulkhead.engine.errors import Invalid

Body = TypeVar("Body", bound="BaseModel")
Command = TypeVar("Command", bound=Callable[..., Any])
Decorator = Callable[[Any], Any]

FILE: Final = click.Path(exists=True, dir_okay=False, path_type=Path)
"""A file that is read."""


def together(*options: Decorator) -> Callable[[Command], Command]:
    """Several options as one decorator, in the order in which the help shows them."""

    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def kind_option(kinds: Sequence[str], told: str) -> Decorator:
    """`--type`, the first of `kinds` unless it is given."""
    return click.option(
        "--type",
        "kind",
        type=click.Choice(kinds),
        default=kinds[0],
        show_default=True,
        help=told,
    )


def spelled(name: str) -> str:
    """How a person writes the option that a command calls `name`."""
    return f"--{name.replace('_', '-')}"


def read_secret(file: Path | None, *, asked: str, called: str, option: str) -> str:
    """A secret of one line: from `file`, else asked for on a terminal, else piped in.

    Raises click.UsageError where there is none.
    """
    if file is not None:
        return file.read_text(encoding="utf-8").rstrip("\r\n")
    if sys.stdin.isatty():
        told: str = click.prompt(asked, hide_input=True, err=True)
        return told
    return piped_secret(sys.stdin.readline().rstrip("\r\n"), called=called, option=option)


def piped_secret(piped: str, *, called: str, option: str) -> str:
    """What was piped in; raises click.UsageError where that is nothing."""
    if not piped:
        raise click.UsageError(f"{called} is needed: pipe it in, or name a {option}")
    return piped


def parse_body(body: type[Body], given: Mapping[str, Any]) -> Body:
    """What a command was told, as the API takes it; raises Invalid."""
    from pydantic import ValidationError

    try:
        return body.model_validate(given)
    except ValidationError as error:
        raise invalid(error) from None


def invalid(error: ValidationError, *, of: str = "") -> Invalid:
    """What is wrong first; without the input, in which there may be a secret."""
    from bulkhead.engine.errors import Invalid
    from bulkhead.http.findings import findings

    [first, *_] = findings(error.errors(include_input=False, include_url=False))
    return Invalid(reason=f"{of}{first['path'] or 'all of it'}: {first['message']}")
