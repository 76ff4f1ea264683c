"""`bulkhead user`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from bulkhead.cli.output import Output
from bulkhead.cli.session import application_option, run_opened
from bulkhead.cli.verb import Noun

if TYPE_CHECKING:
    from bulkhead.capabilities.identity import Identity
    from bulkhead.engine.system import System


@click.group(cls=Noun)
def user() -> None:
    """Create users and tokens."""


@user.command("create", examples=["bulkhead user create ada@example.com --role staff"])
@application_option
@click.option("--password", prompt=True, hide_input=True, help="Asked for when it is not given.")
@click.option("--role", type=click.Choice(["staff", "admin"]), help="Make them staff.")
@click.argument("email")
@click.pass_obj
def create(
    output: Output, *, application: str, email: str, password: str, role: str | None
) -> None:
    """Create a user whose address counts as confirmed."""
    from bulkhead.capabilities.identity import create_user

    async def work(system: System) -> dict[str, Any]:
        metadata = {"role": role} if role else None
        made = await create_user(
            _people(system), email=email, password=password, app_metadata=metadata
        )
        return {"id": made.id, "email": made.email, "role": role}

    made = run_opened(output, application, work)
    output.data(made, text=f"Created {made['email']} ({made['id']}).")


@user.command("token", examples=["bulkhead user token -a store_platform owner@example.com"])
@application_option
@click.argument("email")
@click.pass_obj
def token(output: Output, *, application: str, email: str) -> None:
    """Print an access token of a user, for trying things out."""
    from bulkhead.capabilities.identity import sign_in_as

    async def work(system: System) -> str:
        return (await sign_in_as(_people(system), email)).access_token

    text = run_opened(output, application, work)
    output.data({"access_token": text}, text=text)


def _people(system: System) -> Identity:
    from bulkhead.engine.errors import NotFound

    if system.application.people is None:
        raise NotFound(what=f"A user database of {system.application.name}")
    people: Identity = system.application.people(system)
    return people
