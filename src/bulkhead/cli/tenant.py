"""`bulkhead tenant`: the databases of the stores, after they were made."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import click

from bulkhead.cli.output import Output
from bulkhead.cli.provision import APPLICATION, find_store, platform_of
from bulkhead.cli.session import run_opened

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from bulkhead.apps.store_platform.fleet import Platform
    from bulkhead.engine.fleet.model import TenantRow
    from bulkhead.engine.fleet.move_store import Move
    from bulkhead.engine.system import System

COLUMNS = ("id", "kind", "server", "database", "state", "version", "generation", "reason")
STATES = ("provisioning", "active", "suspended", "moving", "deleting")


@click.group()
def tenant() -> None:
    """Look after the databases of stores; STORE is an id or a slug."""


@tenant.command("list")
@click.option("--state", type=click.Choice(STATES), help="Only those in this state.")
@click.option("--server", help="Only those on this server.")
@click.option("--limit", type=click.IntRange(1, 1000), default=100, show_default=True)
@click.pass_obj
def list_all(output: Output, *, state: str | None, server: str | None, limit: int) -> None:
    """List the databases of stores."""
    from bulkhead.engine.connections.claims import SERVICE
    from bulkhead.engine.fleet.model import TenantState
    from bulkhead.engine.fleet.registry import list_tenants

    async def work(system: System) -> list[dict[str, Any]]:
        wanted = TenantState(state) if state is not None else None
        async with system.database("master").transaction(SERVICE, read_only=True) as tx:
            found = await list_tenants(tx, server=server, state=wanted, limit=limit)
        return [_row(row) for row in found]

    output.rows(COLUMNS, run_opened(output, APPLICATION, work))


@tenant.command("show")
@click.argument("store")
@click.pass_obj
def show(output: Output, *, store: str) -> None:
    """Show where the database of a store is, and how it answers."""
    from bulkhead.engine.errors import BulkheadError

    async def work(platform: Platform, key: UUID) -> dict[str, Any]:
        row = await platform.fleet.describe(key)  # type: ignore[arg-type]
        try:
            async with platform.fleet.connection(row.id) as db:
                answers = f"yes, {db.dialect.value}"
        except BulkheadError as error:
            answers = f"no: {error.message}"
        return {**_row(row), "answers": answers}

    output.data(_on_store(output, store, work))


@tenant.command("suspend")
@click.argument("store")
@click.option("--reason", default="by an operator", show_default=True)
@click.pass_obj
def suspend(output: Output, *, store: str, reason: str) -> None:
    """Serve a store no more; nothing of it is lost."""

    async def work(platform: Platform, key: UUID) -> TenantRow:
        return await platform.lifecycle.suspend(key, reason)  # type: ignore[arg-type]

    _tell(output, _on_store(output, store, work))


@tenant.command("resume")
@click.argument("store")
@click.pass_obj
def resume(output: Output, *, store: str) -> None:
    """Serve a suspended store again."""

    async def work(platform: Platform, key: UUID) -> TenantRow:
        return await platform.lifecycle.resume(key)  # type: ignore[arg-type]

    _tell(output, _on_store(output, store, work))


@tenant.command("delete")
@click.argument("store")
@click.option("--grace-days", type=click.IntRange(0, 365), default=30, show_default=True)
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def delete(output: Output, *, store: str, grace_days: int, yes: bool) -> None:
    """Close a store; its database is archived and dropped after a time of grace."""
    output.note(f"→ application {APPLICATION} · store {store}")
    if not yes:
        click.confirm("Delete this store and its database?", abort=True, err=True)

    async def work(platform: Platform, key: UUID) -> dict[str, Any]:
        from bulkhead.apps.store_platform.master.stores.service import begin_deletion
        from bulkhead.engine.connections.claims import SERVICE

        found = await platform.lifecycle.delete(
            key,  # type: ignore[arg-type]
            reason="by an operator",
            grace_s=grace_days * 86400.0,
        )
        async with platform.master.transaction(SERVICE) as tx:
            await begin_deletion(tx, key, actor=None)
        return {"tenant": found.tenant, "purge_at": found.purge_at.isoformat(timespec="seconds")}

    found = _on_store(output, store, work)
    output.data(found, text=f"Closed; dropped on {found['purge_at']} unless it is restored.")


@tenant.command("restore")
@click.argument("store")
@click.pass_obj
def restore(output: Output, *, store: str) -> None:
    """Take a deletion back whose time of grace is not over."""

    async def work(platform: Platform, key: UUID) -> TenantRow:
        from bulkhead.apps.store_platform.master.stores.service import take_back_deletion
        from bulkhead.engine.connections.claims import SERVICE

        row = await platform.lifecycle.restore(key)  # type: ignore[arg-type]
        async with platform.master.transaction(SERVICE) as tx:
            await take_back_deletion(tx, key, actor=None)
        return row

    _tell(output, _on_store(output, store, work))


@tenant.command("export")
@click.argument("store")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.pass_obj
def export(output: Output, *, store: str, file: Path) -> None:
    """Write the rows of a store into an archive, as of one moment."""

    async def work(platform: Platform, key: UUID) -> dict[str, Any]:
        return (await platform.lifecycle.export(key, file)).to_json()  # type: ignore[arg-type]

    output.data(_on_store(output, store, work), text=f"Wrote {file}.")


@tenant.command("move")
@click.argument("store")
@click.option("--server", help="Where to.  [the emptiest one that fits]")
@click.option("--label", "labels", multiple=True, metavar="KEY=VALUE", help="Of the server.")
@click.pass_obj
def move(output: Output, *, store: str, server: str | None, labels: tuple[str, ...]) -> None:
    """Move a store to another PostgreSQL server while it is served.

    It can be taken back with `revert` until `confirm` drops the old database.
    """
    wanted = dict(label.split("=", 1) for label in labels if "=" in label)

    async def work(platform: Platform, key: UUID) -> Move:
        begun = await platform.mover.start(key, server=server, labels=wanted)  # type: ignore[arg-type]
        output.step(f"Moving from {begun.source} to {begun.target}")
        return await platform.mover.run(begun.tenant)

    found = _on_store(output, store, work)
    output.data(
        {"step": found.step, "target": found.target, "fence_ms": found.fence_ms},
        text=f"Moved to {found.target}; nobody could write for {found.fence_ms or 0:.0f} ms."
        f" Confirm it: bulkhead tenant confirm {store}",
    )


@tenant.command("confirm")
@click.argument("store")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def confirm(output: Output, *, store: str, yes: bool) -> None:
    """Drop the old database of a store that was moved."""
    if not yes:
        click.confirm("Drop the old database of this store?", abort=True, err=True)

    async def work(platform: Platform, key: UUID) -> None:
        await platform.mover.confirm(key)  # type: ignore[arg-type]

    _on_store(output, store, work)
    output.data({"step": "confirmed"}, text="The old database is dropped.")


@tenant.command("revert")
@click.argument("store")
@click.pass_obj
def revert(output: Output, *, store: str) -> None:
    """Take a move back; nothing that was written meanwhile is lost."""

    async def work(platform: Platform, key: UUID) -> None:
        await platform.mover.revert(key)  # type: ignore[arg-type]

    _on_store(output, store, work)
    output.data({"step": "reverted"}, text="The store is where it was.")


def _on_store(output: Output, store: str, work: Callable[[Platform, UUID], Awaitable[Any]]) -> Any:  # noqa: ANN401 - what `work` gives
    async def task(system: System) -> Any:  # noqa: ANN401
        key = await find_store(system, store)
        platform = platform_of(system)
        try:
            return await work(platform, key)
        finally:
            await platform.close()

    return run_opened(output, APPLICATION, task)


def _tell(output: Output, row: TenantRow) -> None:
    output.data(_row(row), text=f"Store {row.id} is {row.state.value}.")


def _row(row: TenantRow) -> dict[str, Any]:
    return {
        "id": row.id,
        "kind": row.place.kind.value,
        "server": row.place.server,
        "database": row.place.database,
        "state": row.state.value,
        "version": row.schema_version,
        "generation": row.generation,
        "reason": row.reason,
    }
