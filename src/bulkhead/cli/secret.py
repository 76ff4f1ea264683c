"""`bulkhead secret`."""

from __future__ import annotations

import contextlib
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bulkhead.apps import NAMES, load_application
from bulkhead.cli.options import FILE
from bulkhead.cli.output import EXIT_FINDINGS, Output
from bulkhead.cli.session import run_opened, settings_of
from bulkhead.cli.verb import Noun

if TYPE_CHECKING:
    from bulkhead.capabilities.vault import Vault
    from bulkhead.engine.system import System

COLUMNS = ("id", "tenant", "state", "master", "seals", "created_at", "rotated_at", "destroyed_at")
MARKS = {"ok": "ok  ", "info": "info", "warning": "warn", "error": "FAIL"}

application_option = click.option(
    "-a",
    "--application",
    type=click.Choice(NAMES),
    help="Which application.  [the first one that has secrets]",
)
passphrase_option = click.option(
    "--passphrase-file",
    type=FILE,
    help="Read the passphrase from a file instead of asking for it.",
)


@click.group(cls=Noun)
def secret() -> None:
    """Look after the keys under which secrets are sealed.

    Each tenant's secrets are sealed with a key of its own, and those keys with the master key,
    which is in a file and never in a database.
    """


@secret.command("list", examples=["bulkhead secret list -t my-shop"])
@application_option
@click.option("-t", "--tenant", help="Only the keys of this tenant.")
@click.option("--limit", type=int, default=100, show_default=True)
@click.pass_obj
def list_keys(output: Output, *, application: str | None, tenant: str | None, limit: int) -> None:
    """List the keys of tenants, newest first; no key is shown."""
    from bulkhead.capabilities.vault.vault import Q
    from bulkhead.engine.connections.claims import SERVICE

    async def work(system: System) -> list[dict[str, Any]]:
        wanted = None if tenant is None else await _named(system, tenant)
        async with _vault(system).database.transaction(SERVICE, read_only=True) as tx:
            return [dict(row) for row in await tx.fetch(Q.list_keys, wanted, limit)]

    output.rows(COLUMNS, run_opened(output, _with_secrets(application), work))


@secret.command(
    "rotate",
    examples=[
        "bulkhead secret rotate",
        "bulkhead secret rotate -t my-shop",
    ],
)
@application_option
@click.option("-t", "--tenant", help="Rotate this tenant's key and seal its secrets anew.")
@click.option("--finish", is_flag=True, help="Only finish what was interrupted.")
@click.pass_obj
def rotate(output: Output, *, application: str | None, tenant: str | None, finish: bool) -> None:
    """Use a new master key, or a new key for one tenant; no request fails meanwhile.

    Former master keys stay in their file, because older backups of the keyring need them.
    """
    from bulkhead.capabilities.vault.rotation import finish_rotation, reseal, rotate_master

    async def work(system: System) -> dict[str, Any]:
        vault = _vault(system)
        if finish:
            return {"keys": await finish_rotation(vault), "values": await reseal(vault)}
        if tenant is not None:
            named = await _named(system, tenant)
            key = await vault.rotate_key(named)
            return {"tenant": named, "key": key, "values": await reseal(vault, tenant=named)}
        return {"master": (await rotate_master(vault)).id.hex()}

    told = run_opened(output, _with_secrets(application), work)
    output.data(told)
    if "master" in told:
        output.note("Export the new master key to a safe place:  bulkhead secret export-key FILE")


@secret.command("verify", examples=["bulkhead secret verify"])
@application_option
@click.pass_obj
def verify(output: Output, *, application: str | None) -> int:
    """Open every key and every sealed value; exit code 7 when one does not open."""
    from bulkhead.capabilities.vault.check_up import check_values, check_vault

    async def work(system: System) -> int:
        vault = _vault(system)
        findings = [*await check_vault(vault), *await check_values(vault)]
        lines = [
            f"{MARKS[each.level]}  {each.subject:40} {each.detail}"
            + (f"\n      {each.remedy}" if each.remedy else "")
            for each in findings
        ]
        output.data([asdict(each) for each in findings], text="\n".join(lines))
        return EXIT_FINDINGS if any(each.level == "error" for each in findings) else 0

    return run_opened(output, _with_secrets(application), work)


@secret.command("shred", examples=["bulkhead secret shred my-shop"])
@application_option
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.argument("tenant")
@click.pass_obj
def shred(output: Output, *, application: str | None, yes: bool, tenant: str) -> None:
    """Destroy a tenant's keys, and with them every secret they sealed, for good."""
    if not yes:
        click.confirm(f"Destroy every secret of '{tenant}' for good?", abort=True, err=True)

    async def work(system: System) -> dict[str, Any]:
        return {"tenant": tenant, "keys": await _vault(system).shred(await _named(system, tenant))}

    told = run_opened(output, _with_secrets(application), work)
    output.data(told, text=f"Destroyed {told['keys']} keys of {tenant}.")
    output.note("Backups of the keyring that are older still have them: destroy those, too.")


@secret.command(
    "export-key",
    examples=["bulkhead secret export-key master-keys.txt --passphrase-file passphrase"],
)
@passphrase_option
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.pass_obj
def export_key(output: Output, *, passphrase_file: Path | None, file: Path) -> None:
    """Write the master keys to FILE, wrapped by a passphrase; keep both in a safe place."""
    from bulkhead.capabilities.vault.export import export_keys
    from bulkhead.capabilities.vault.master_keys import open_master_keys
    from bulkhead.engine.errors import NotFound

    keys = open_master_keys(settings_of(output)).keys
    if not keys:
        raise NotFound(what="A master key")
    export_keys(file, keys, _passphrase(passphrase_file, confirm=True))
    ids = [key.id.hex() for key in keys]
    output.data({"file": str(file), "keys": ids}, text=f"Exported {', '.join(ids)} to {file}.")


@secret.command("import-key", examples=["bulkhead secret import-key master-keys.txt"])
@passphrase_option
@click.argument("file", type=FILE)
@click.pass_obj
def import_key(output: Output, *, passphrase_file: Path | None, file: Path) -> None:
    """Put the master keys of an export back where they belong."""
    from bulkhead.capabilities.vault.export import import_keys
    from bulkhead.capabilities.vault.master_keys import open_master_keys

    keys = import_keys(file, _passphrase(passphrase_file, confirm=False))
    masters = open_master_keys(settings_of(output))
    masters.add(*keys)
    ids = [key.id.hex() for key in keys]
    output.data({"file": masters.place, "keys": ids}, text=f"Imported {', '.join(ids)}.")


async def _named(system: System, tenant: str) -> str:
    """The tenant that is meant, which may be named by the slug of a store."""
    from bulkhead.cli.stores import APPLICATION, find_store
    from bulkhead.engine.errors import NotFound

    if system.application.name == APPLICATION:
        with contextlib.suppress(NotFound):
            return str(await find_store(system, tenant))
    return tenant


def _with_secrets(application: str | None) -> str:
    from bulkhead.engine.errors import NotFound

    if application is not None:
        return application
    for name in NAMES:
        if load_application(name).vault is not None:
            return name
    raise NotFound(what="An application that has secrets")


def _passphrase(file: Path | None, *, confirm: bool) -> str:
    if file is not None:
        return file.read_text(encoding="utf-8").rstrip("\r\n")
    text: str = click.prompt("Passphrase", hide_input=True, confirmation_prompt=confirm, err=True)
    return text


def _vault(system: System) -> Vault:
    from bulkhead.engine.errors import NotFound

    if system.vault is None:
        raise NotFound(what=f"A vault of {system.application.name}")
    vault: Vault = system.vault
    return vault
