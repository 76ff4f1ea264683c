"""`bulkhead key`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TextIO

import click

from bulkhead.cli.output import Output
from bulkhead.cli.session import application_option, running_settings
from bulkhead.cli.verb import Noun

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bulkhead.capabilities.identity.tokens.keyring import KeyRing
    from bulkhead.engine.settings import Settings
    from bulkhead.gateway.keys import DatabaseKeys

SIGNING = "signing"
KINDS = (SIGNING, "publishable", "secret", "jwt")
COLUMNS = ("kind", "database", "id", "role", "state", "key")
SHOWN = 12
"""How many characters of a secret key are shown."""

kind_argument = click.argument("kind", type=click.Choice(KINDS))
database_option = click.option("-d", "--database", help="Whose key; all kinds but `signing`.")


@click.group(cls=Noun)
def key() -> None:
    """List, rotate and revoke keys.

    \b
    signing      signs the access tokens of an application's users
    publishable  sb_publishable_...: what a front end sends, role anon
    secret       sb_secret_...: what a server sends, role service_role
    jwt          the JWT secret of a database, and its legacy keys anon and service_role
    """  # noqa: D301 - click reads the control character


@key.command(
    "list",
    examples=[
        "bulkhead key list",
        "bulkhead key list -a store_platform --reveal",
    ],
)
@application_option
@click.option("--reveal", is_flag=True, help="Show secret keys too.")
@click.pass_obj
def list_keys(output: Output, *, application: str, reveal: bool) -> None:
    """List the keys of an application that are valid, and signing keys of every state."""
    settings = running_settings(output)
    rows = [*_signing_rows(_signing(application, settings))]
    for keys in _of_databases(application, settings).values():
        rows += _api_rows(keys, reveal=reveal)
    output.rows(COLUMNS, rows, whole=reveal)


@key.command(
    "rotate",
    examples=[
        "bulkhead key rotate signing",
        "bulkhead key rotate secret -d orders",
    ],
)
@application_option
@database_option
@kind_argument
@click.pass_obj
def rotate_key(output: Output, *, application: str, database: str | None, kind: str) -> None:
    """Use a new key from now on; the former one stays valid until it is revoked.

    A server that runs knows within seconds, and no request fails.
    """
    from bulkhead.gateway.keyring import open_keyring
    from bulkhead.gateway.keys import KeyKind

    settings = running_settings(output)
    if kind == SIGNING:
        keys = _signing(application, settings).rotate()
        told: dict[str, Any] = {"kind": kind, "id": keys.current.kid}
    else:
        name = _check_database(application, database)
        found = open_keyring(application, settings).rotate(name, KeyKind(kind))
        number = max(each.number for each in found.keys if each.kind == kind)
        told = {"kind": kind, "database": name, "id": number}
    output.data(told, text=f"Current is now {kind} key {told['id']}.")
    output.note("Revoke the former one when nobody uses it:  bulkhead key revoke --help")


@key.command("import", examples=["bulkhead key import key.pem"])
@application_option
@click.option(
    "--previous", is_flag=True, help="Only verify with it; else it signs once rotated to."
)
@click.argument("file", type=click.File("r"))
@click.pass_obj
def import_key(output: Output, *, application: str, previous: bool, file: TextIO) -> None:
    """Take over a private signing key, ES256 or RS256, from a PEM or JWK file."""
    from bulkhead.capabilities.identity.tokens.keys import KeyState

    state = KeyState.PREVIOUS if previous else KeyState.STANDBY
    ring = _signing(application, running_settings(output))
    known = {each.kid for each in ring.keys.keys}
    [made] = [each for each in ring.import_key(file.read(), state).keys if each.kid not in known]
    told = {"kind": SIGNING, "id": made.kid, "state": state.value}
    output.data(told, text=f"Imported signing key {made.kid}, {state.value}.")


@key.command("revoke", examples=["bulkhead key revoke secret 0 -d orders"])
@application_option
@database_option
@kind_argument
@click.argument("id")
@click.pass_obj
def revoke_key(
    output: Output,
    *,
    application: str,
    database: str | None,
    kind: str,
    id: str,  # noqa: A002
) -> None:
    """Refuse what comes with a former key, or was signed by it, from now on; see `key list`."""
    from bulkhead.engine.errors import Invalid
    from bulkhead.gateway.keyring import open_keyring
    from bulkhead.gateway.keys import KeyKind

    settings = running_settings(output)
    told: dict[str, Any] = {"kind": kind, "id": id}
    if kind == SIGNING:
        _signing(application, settings).revoke(id)
    else:
        told["database"] = name = _check_database(application, database)
        if not id.isdecimal():
            raise Invalid(reason=f"'{id}' is no number of a key; bulkhead key list has them")
        open_keyring(application, settings).revoke(name, KeyKind(kind), int(id))
    output.data(told, text=f"Revoked {kind} key {id}.")


def _signing(application: str, settings: Settings) -> KeyRing:
    from bulkhead.capabilities.identity.tokens.keyring import KeyRing

    return KeyRing(settings.home / "keys" / f"{application}.json")


def _of_databases(application: str, settings: Settings) -> dict[str, DatabaseKeys]:
    from bulkhead.apps import load_application
    from bulkhead.gateway.keyring import open_keyring

    ring = open_keyring(application, settings)
    topology = load_application(application).topology
    return {database.name: ring.keys(database.name) for database in topology.databases}


def _check_database(application: str, database: str | None) -> str:
    from bulkhead.apps import load_application
    from bulkhead.engine.errors import Invalid

    if database is None:
        raise Invalid(reason="say whose key: --database NAME")
    return load_application(application).topology.database(database).name


def _signing_rows(ring: KeyRing) -> Iterator[dict[str, Any]]:
    for each in ring.keys.keys:
        yield {"kind": SIGNING, "id": each.kid, "state": each.state.value}


def _api_rows(keys: DatabaseKeys, *, reveal: bool) -> Iterator[dict[str, Any]]:
    for each in keys.keys:
        is_public = each.role == "anon"
        yield {
            "kind": each.kind.value,
            "database": keys.database,
            "id": each.number,
            "role": each.role.value,
            "state": "current" if each.is_current else "previous",
            "key": each.text if reveal or is_public else f"{each.text[:SHOWN]}…",
        }
