"""`bulkhead tenant`: the databases of the stores, after they were made."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bulkhead.cli.output import Output, cell
from bulkhead.cli.session import run_opened
from bulkhead.cli.stores import APPLICATION, find_slugs, on_store, show_tenant
from bulkhead.cli.tenant_copy import clone, load, split
from bulkhead.cli.tenant_move import confirm, move, note_next, revert
from bulkhead.cli.tenant_state import delete, restore, resume, suspend
from bulkhead.cli.verb import Noun

if TYPE_CHECKING:
    from bulkhead.apps.store_platform.fleet import Platform
    from bulkhead.engine.fleet.archive import Manifest
    from bulkhead.engine.fleet.model import TenantId
    from bulkhead.engine.system import System

COLUMNS = ("id", "slug", "kind", "server", "database", "state", "version", "generation", "reason")
STATES = ("provisioning", "active", "suspended", "moving", "deleting")


@click.group(cls=Noun)
def tenant() -> None:
    """Look after the databases of stores; STORE is an id or a slug."""


tenant.add_command(suspend)
tenant.add_command(resume)
tenant.add_command(delete)
tenant.add_command(restore)
tenant.add_command(clone)
tenant.add_command(split)
tenant.add_command(load)
tenant.add_command(move)
tenant.add_command(confirm)
tenant.add_command(revert)


@tenant.command(
    "list",
    examples=[
        "bulkhead tenant list",
        "bulkhead tenant list --state suspended --json",
    ],
)
@click.option("--state", type=click.Choice(STATES), help="Only those in this state.")
@click.option("--server", help="Only those on this server.")
@click.option("--limit", type=click.IntRange(1, 1000), default=100, show_default=True)
@click.pass_obj
def list_all(output: Output, *, state: str | None, server: str | None, limit: int) -> None:
    """List the databases of stores."""
    from bulkhead.engine.connections.claims import SERVICE
    from bulkhead.engine.fleet.model import TenantState
    from bulkhead.engine.fleet.registry import get_server, list_tenants

    async def work(system: System) -> list[dict[str, Any]]:
        wanted = TenantState(state) if state is not None else None
        async with system.database("master").transaction(SERVICE, read_only=True) as tx:
            if server is not None:
                await get_server(tx, server)
            found = await list_tenants(tx, server=server, state=wanted, limit=limit)
        slugs = await find_slugs(system, [row.id for row in found])
        return [{**show_tenant(row), "slug": slugs.get(row.id)} for row in found]

    rows = run_opened(output, APPLICATION, work)
    if output.as_json:
        output.rows(COLUMNS, rows)
        return
    shown = [{**row, "store": row["slug"] or row["id"]} for row in rows]
    shown.sort(key=lambda row: str(row["store"]))
    output.rows(("store", "kind", "server", "state", "version", "reason"), shown)


@tenant.command("show", examples=["bulkhead tenant show my-shop"])
@click.argument("store")
@click.pass_obj
def show(output: Output, *, store: str) -> None:
    """Show where the database of a store is, and how it answers."""
    from bulkhead.engine.errors import BulkheadError
    from bulkhead.engine.fleet.move_store import MoveUnknown

    async def work(platform: Platform, key: TenantId) -> dict[str, Any]:
        row = await platform.fleet.describe(key)
        try:
            async with platform.fleet.connection(row.id) as db:
                answers = f"yes, {db.dialect.value}"
        except BulkheadError as error:
            error.details["tenant"] = store
            answers = f"no: {error.message}"
        found = {**show_tenant(row), "answers": answers, "move": None}
        with suppress(MoveUnknown):
            move = await platform.mover.get(key)
            found["move"] = f"from {move.source} to {move.target}, {move.step}"
        return found

    found = on_store(output, store, work)
    lines = {"store": store, **found}
    output.data(found, text="\n".join(f"{name:10}  {cell(v)}" for name, v in lines.items()))
    if found["move"] is not None:
        note_next(output, store, str(found["move"]).rpartition(", ")[2])


@tenant.command("export", examples=["bulkhead tenant export my-shop my-shop.zip"])
@click.argument("store")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.pass_obj
def export(output: Output, *, store: str, file: Path) -> None:
    """Write the rows of a store into a new archive, as of one moment."""

    async def work(platform: Platform, key: TenantId) -> Manifest:
        return await platform.lifecycle.export(key, file)

    try:
        found = on_store(output, store, work)
    except FileExistsError as error:
        raise click.FileError(str(file), "it is there already") from error
    except OSError as error:
        if error.strerror is None:
            raise
        raise click.FileError(str(file), error.strerror) from error
    tables = len(found.tables)
    output.data(
        found.to_json(),
        text=f"Wrote {found.rows} rows in {tables} tables of '{store}' to {file}.",
    )
