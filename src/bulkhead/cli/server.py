"""`bulkhead server`: the servers on which stores are placed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from bulkhead.cli.output import Output
from bulkhead.cli.provision import APPLICATION, config_of, database_options, platform_of
from bulkhead.cli.session import run_opened

if TYPE_CHECKING:
    from bulkhead.engine.fleet.model import ServerRow
    from bulkhead.engine.system import System

COLUMNS = ("name", "kind", "address", "tenants", "capacity", "connections_max", "labels", "drained")


@click.group()
def server() -> None:
    """Look after the servers on which the databases of stores are made."""


@server.command("list")
@click.pass_obj
def list_all(output: Output) -> None:
    """List the servers, with how many stores each has and takes."""
    from bulkhead.engine.connections.claims import SERVICE
    from bulkhead.engine.fleet.registry import list_servers

    async def work(system: System) -> list[dict[str, Any]]:
        async with system.database("master").transaction(SERVICE, read_only=True) as tx:
            return [_row(row) for row in await list_servers(tx)]

    output.rows(COLUMNS, run_opened(output, APPLICATION, work))


@server.command("add")
@click.argument("name")
@click.option("--capacity", type=click.IntRange(0), default=1000, show_default=True)
@click.option("--connections", type=click.IntRange(1, 10_000), default=60, show_default=True)
@click.option("--label", "labels", multiple=True, metavar="KEY=VALUE", help="Such as region=eu.")
@database_options
@click.pass_obj
def add(
    output: Output,
    /,
    *,
    name: str,
    capacity: int,
    connections: int,
    labels: tuple[str, ...],
    **options: Any,  # noqa: ANN401 - what click parsed
) -> None:
    """Let stores be made on a server, or change what is known of it.

    The user is its administrator; the password is kept sealed.
    """
    from bulkhead.engine.connections.claims import SERVICE
    from bulkhead.engine.fleet.model import ServerKind
    from bulkhead.engine.fleet.registry import ServerEntry, add_server

    kind = ServerKind(options["kind"])
    options["database"] = options["database"] or ("mysql" if kind == "mysql" else "postgres")
    config = config_of(options).to_config(kind)

    async def work(system: System) -> dict[str, Any]:
        sealed = await platform_of(system).databases.seals.seal_endpoint(name, config)
        named = dict(label.split("=", 1) for label in labels if "=" in label)
        entry = ServerEntry(name, kind, config.server, capacity, connections, named, sealed)
        async with system.database("master").transaction(SERVICE) as tx:
            return _row(await add_server(tx, entry))

    output.data(run_opened(output, APPLICATION, work), text=f"Server {name} takes stores.")


@server.command("drain")
@click.argument("name")
@click.option("--end", is_flag=True, help="Let it take new stores again.")
@click.pass_obj
def drain(output: Output, *, name: str, end: bool) -> None:
    """Place no more stores on a server, and list some of those that are still there."""
    from bulkhead.engine.connections.claims import SERVICE
    from bulkhead.engine.fleet.placement import drain_server, list_left

    async def work(system: System) -> list[dict[str, Any]]:
        async with system.database("master").transaction(SERVICE) as tx:
            await drain_server(tx, name, draining=not end)
            left = () if end else await list_left(tx, name)
        return [{"store": row.id, "database": row.place.database} for row in left]

    rows = run_opened(output, APPLICATION, work)
    if rows or output.as_json:
        output.rows(("store", "database"), rows)
    if rows:
        output.note("Move them: bulkhead tenant move STORE")


@server.command("remove")
@click.argument("name")
@click.pass_obj
def remove(output: Output, *, name: str) -> None:
    """Forget a server that has no stores."""
    from bulkhead.engine.connections.claims import SERVICE
    from bulkhead.engine.fleet.registry import remove_server

    async def work(system: System) -> None:
        async with system.database("master").transaction(SERVICE) as tx:
            await remove_server(tx, name)

    run_opened(output, APPLICATION, work)
    output.data({"removed": name}, text=f"Server {name} is forgotten.")


def _row(row: ServerRow) -> dict[str, Any]:
    return {
        "name": row.name,
        "kind": row.kind.value,
        "address": row.address,
        "tenants": row.tenants,
        "capacity": row.capacity,
        "connections_max": row.connections_max,
        "labels": dict(row.labels),
        "drained": row.draining_at is not None,
    }
