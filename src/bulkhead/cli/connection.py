"""The options by which commands are told how a database or a server is reached."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from bulkhead.cli.options import FILE, kind_option, parse_body, read_secret, spelled, together

if TYPE_CHECKING:
    from pathlib import Path

    from bulkhead.apps.store_platform.fleet import DatabaseBody

KINDS = ("postgresql", "mysql", "supabase-database")
PLACES = ("host", "project_url", "organization")
"""Options that say where a database is, or is made; without one of them the others say nothing."""
DETAILS = ("port", "database", "username", "password_file", "tls", "ca_file", "pooled", "region")
HOST_AND_PORT = re.compile(r"[^:]+:[0-9]+")
"""What an address of IPv6 never looks like."""

label_option = click.option(
    "--label",
    "labels",
    multiple=True,
    metavar="KEY=VALUE",
    callback=lambda _ctx, _param, given: parse_labels(given),
    help="What the server is labelled with, such as region=eu.",
)


database_options = together(
    kind_option(KINDS, "mysql is MariaDB, too."),
    click.option("--host", help="Where the database is, if there is one already."),
    click.option("--port", type=click.IntRange(1, 65535), help="[that of the type]"),
    click.option("--database", help="What the database is called there."),
    click.option("--username", help="Who may do everything in it."),
    click.option(
        "--password-file",
        type=FILE,
        help="Read the password, or the token, from a file instead of asking for it.",
    ),
    click.option(
        "--tls",
        type=click.Choice(["disable", "require", "verify-ca", "verify-full"]),
        help="[verify-full]",
    ),
    click.option(
        "--ca-file",
        type=FILE,
        help="Whom to trust instead of the system's certificates.",
    ),
    click.option("--pooled", is_flag=True, help="A pooler stands in front of it."),
    click.option("--project-url", help="Of a Supabase project, instead of --host."),
    click.option(
        "--organization",
        metavar="SLUG",
        help="Of Supabase: have projects made there, with an access token as password.",
    ),
    click.option("--region", help="Of Supabase: where they are, such as eu-central-1."),
)
"""How the database of an owner is reached; without any of them one is made."""


def config_of(options: Mapping[str, Any]) -> DatabaseBody:
    """The connection that the options of a command mean; asks for the password.

    Raises click.UsageError for options that are missing, or that say nothing without others.
    """
    from bulkhead.apps.store_platform.fleet import DatabaseBody

    _verify_complete(options)
    ca_file = options["ca_file"]
    secret = _password(options)
    if options["organization"]:
        account = {"organization_slug": options["organization"], "region": options["region"]}
        return parse_body(DatabaseBody, {**account, "access_token": secret})
    return parse_body(
        DatabaseBody,
        {
            "host": options["host"],
            "port": options["port"],
            "database": options["database"],
            "username": options["username"],
            "password": secret,
            "tls": options["tls"],
            "ca_pem": ca_file.read_text(encoding="utf-8") if ca_file is not None else None,
            "pooled": options["pooled"],
            "project_url": options["project_url"],
        },
    )


def parse_labels(given: Sequence[str]) -> dict[str, str]:
    """Labels by their keys; raises click.BadParameter for one that is not KEY=VALUE."""
    labels = {}
    for label in given:
        key, equals, value = label.partition("=")
        if not (key and equals):
            raise click.BadParameter(f"'{label}' is not KEY=VALUE, such as region=eu")
        labels[key] = value
    return labels


def _verify_complete(options: Mapping[str, Any]) -> None:
    if not any(options[name] for name in PLACES):
        if alone := [spelled(name) for name in DETAILS if options[name]]:
            raise click.UsageError(f"{', '.join(alone)}: where is it? Name its --host.")
        return
    if options["host"] and HOST_AND_PORT.fullmatch(options["host"]):
        raise click.UsageError("--host is a name or an address alone: name its --port besides")
    if options["organization"] and options["kind"] != "supabase-database":
        raise click.UsageError("--organization is Supabase's: add --type supabase-database")
    strange = [one for one in (*PLACES[:2], *DETAILS) if one not in {"password_file", "region"}]
    if options["organization"] and (also := [spelled(one) for one in strange if options[one]]):
        raise click.UsageError(f"with --organization a project is made, so leave {also[0]} out")
    if options["region"] and not options["organization"]:
        raise click.UsageError("--region is for projects that are made: name an --organization")
    needed = () if options["kind"] == "supabase-database" else ("host", "database", "username")
    if missing := [spelled(name) for name in needed if not options[name]]:
        raise click.UsageError(f"a database there needs {', '.join(missing)} besides")


def _password(options: Mapping[str, Any]) -> str | None:
    file: Path | None = options["password_file"]
    if file is None and not any(options[name] for name in PLACES):
        return None
    asked = "Access token" if options["organization"] else "Password"
    return read_secret(file, asked=asked, called="a password", option="--password-file")
