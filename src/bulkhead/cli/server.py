"""`bulkhead server`: the servers on which stores are placed."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from bulkhead.cli.connection import config_of, database_options, label_option
from bulkhead.cli.output import Output
from bulkhead.cli.session import run_opened
from bulkhead.cli.stores import APPLICATION, find_slugs, platform_of
from bulkhead.cli.verb import Noun
from bulkhead.engine.clock import monotonic_s

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bulkhead.apps.store_platform.fleet import DatabaseBody, Platform
    from bulkhead.engine.fleet.model import ConnectionConfig, ServerKind, ServerRow
    from bulkhead.engine.provisioning.spares import Spares
    from bulkhead.engine.system import System

CONNECTIONS = 60
POLL_S = 0.1
CLEAR_S = 60.0
TRIES_MAX = 5
NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
COLUMNS = ("name", "kind", "address", "tenants", "capacity", "connections_max", "labels", "drained")


@click.group(cls=Noun)
def server() -> None:
    """Look after the servers on which the databases of stores are made."""


@server.command("list", examples=["bulkhead server list"])
@click.pass_obj
def list_all(output: Output) -> None:
    """List the servers, with how many stores each has and takes."""
    from bulkhead.engine.connections.claims import SERVICE
    from bulkhead.engine.fleet.registry import list_servers

    async def work(system: System) -> list[dict[str, Any]]:
        async with system.database("master").transaction(SERVICE, read_only=True) as tx:
            return [_row(row) for row in await list_servers(tx)]

    rows = run_opened(output, APPLICATION, work)
    if output.as_json:
        output.rows(COLUMNS, rows)
        return
    shown = [
        {**row, "stores": f"{row['tenants']} of {row['capacity']}", "takes_stores": _takes(row)}
        for row in rows
    ]
    output.rows(("name", "kind", "address", "stores", "takes_stores", "labels"), shown)


@server.command(
    "add",
    examples=[
        (
            "bulkhead server add east --host db.example.com --username admin "
            "--password-file password --label region=eu"
        ),
        (
            "bulkhead server add cloud --type supabase-database "
            "--organization my-organization --region eu-central-1 --password-file token"
        ),
    ],
)
@click.argument("name")
@click.option("--capacity", type=click.IntRange(0), default=1000, show_default=True)
@click.option(
    "--connections",
    type=click.IntRange(1, 10_000),
    help="At most, for each process.  [60, and 15 to each Supabase project]",
)
@click.option("--pooler", metavar="HOST:PORT", help="Reach stores through it; PostgreSQL only.")
@label_option
@database_options
@click.pass_obj
def add(
    output: Output,
    /,
    *,
    name: str,
    capacity: int,
    connections: int | None,
    pooler: str | None,
    labels: Mapping[str, str],
    **options: Any,  # noqa: ANN401 - what click parsed
) -> None:
    """Let stores be made on a server, or change what is known of it.

    The user is its administrator, tried before anything is kept; the password is kept sealed. With
    --type supabase-database the server is an organization, in which each store gets a project.
    """
    from bulkhead.engine.connections.claims import SERVICE
    from bulkhead.engine.fleet.model import ServerKind
    from bulkhead.engine.fleet.registry import ServerEntry, add_server
    from bulkhead.engine.fleet.supabase import CONNECTIONS_MAX

    kind = ServerKind(options["kind"])
    _check(name, kind, pooler)
    is_cloud = kind is ServerKind.SUPABASE
    if is_cloud and not options["organization"]:
        raise click.UsageError("name the organization in which projects are made: --organization")
    if not is_cloud:
        options["database"] = options["database"] or ("mysql" if kind == "mysql" else "postgres")
        if not (options["host"] or options["organization"]):
            raise click.UsageError("name the server: --host and --username")
    body = config_of(options)
    limit = connections or (CONNECTIONS_MAX if is_cloud else CONNECTIONS)

    async def work(system: System) -> dict[str, Any]:
        platform = platform_of(system)
        if is_cloud:
            config, address, version = await _verify_account(platform, body)
        else:
            config = replace(body.to_config(kind), pooler=pooler)
            address, version = config.server, await _verify(platform, name, config)
        sealed = await platform.databases.seals.seal_endpoint(name, config)
        entry = ServerEntry(name, kind, address, capacity, limit, labels, sealed)
        async with system.database("master").transaction(SERVICE) as tx:
            return {**_row(await add_server(tx, entry)), "version": version}

    found = run_opened(output, APPLICATION, work)
    output.data(found, text=f"Server '{name}' takes stores: {found['version']}.")


@server.command(
    "drain",
    examples=[
        "bulkhead server drain east",
        "bulkhead server drain east --end",
    ],
)
@click.argument("name")
@click.option("--end", is_flag=True, help="Let it take new stores again.")
@click.pass_obj
def drain(output: Output, *, name: str, end: bool) -> None:
    """Place no more stores on a server, and list some of those that are still there."""
    from bulkhead.engine.connections.claims import SERVICE
    from bulkhead.engine.fleet.placement import drain_server, list_left
    from bulkhead.engine.fleet.registry import ServerInUse, verify_unused

    async def work(system: System) -> tuple[list[dict[str, Any]], str | None]:
        used = None
        async with system.database("master").transaction(SERVICE) as tx:
            await drain_server(tx, name, draining=not end)
            left = () if end else await list_left(tx, name)
            try:
                await verify_unused(tx, name)
            except ServerInUse as error:
                used = str(error.details["reason"])
        slugs = await find_slugs(system, [row.id for row in left])
        rows = [
            {"store": slugs.get(row.id, row.id), "id": row.id, "database": row.place.database}
            for row in left
        ]
        return rows, used

    rows, used = run_opened(output, APPLICATION, work)
    forget = f"bulkhead server remove {name}"
    if end:
        output.note(f"Server '{name}' takes new stores again.")
    elif rows:
        output.note(f"Server '{name}' takes no new stores. Move away what is left:")
    else:
        output.note(f"Server '{name}' takes no new stores and has none.")
        output.note(f"Before it is forgotten, {used}" if used else f"Forget it: {forget}")
    if rows or output.as_json:
        output.rows(("store", "id", "database") if output.as_json else ("store",), rows)
    if rows:
        output.note("bulkhead tenant move STORE, and then bulkhead tenant confirm STORE")


@server.command("remove", examples=["bulkhead server remove east"])
@click.argument("name")
@click.option("--abandon", is_flag=True, help="It is gone: leave what is on it as it is.")
@click.pass_obj
def remove(output: Output, *, name: str, abandon: bool) -> None:
    """Forget a server that has no stores, nor a database of one that has just been moved.

    Databases that were kept ready there are dropped first.
    """
    from bulkhead.engine.connections.claims import SERVICE
    from bulkhead.engine.fleet.placement import drain_server
    from bulkhead.engine.fleet.registry import remove_server, verify_unused

    async def work(system: System) -> None:
        master = system.database("master")
        async with master.transaction(SERVICE) as tx:
            await verify_unused(tx, name, abandon=abandon)
            await drain_server(tx, name)
        for spares in platform_of(system).provisioning.shop.spares.values():
            await (spares.abandon(name) if abandon else _clear(spares, name))
        async with master.transaction(SERVICE) as tx:
            await remove_server(tx, name, abandon=abandon)

    run_opened(output, APPLICATION, work)
    output.data({"removed": name}, text=f"Server '{name}' is forgotten.")


async def _clear(spares: Spares, server: str) -> None:
    """Drop what was kept ready, wait for what others drop; raises ServerInUse when some is left."""
    from bulkhead.engine.fleet.registry import ServerInUse

    deadline_s, tries = monotonic_s() + CLEAR_S, 0
    while True:
        dropped = await spares.sweep()
        left = await spares.left_at(server)
        if not left.count:
            return
        # What nobody is at was refused by the server, or has just been left by another process.
        tries = 0 if dropped or left.busy_until else tries + 1
        if tries == TRIES_MAX or monotonic_s() > deadline_s:
            break
        await asyncio.sleep(POLL_S * 2**tries)
    reason = f"{left.count} databases that were kept ready are on it"
    if left.busy_until is not None:
        reason += f"; another process may be at them until {left.busy_until:%H:%M:%S %Z}"
    raise ServerInUse(server=server, reason=reason)


def _check(name: str, kind: ServerKind, pooler: str | None) -> None:
    if not NAME.fullmatch(name):
        raise click.UsageError("a server's name has lower-case letters, digits and hyphens")
    if pooler and kind != "postgresql":
        raise click.UsageError("--pooler goes with --type postgresql")


async def _verify_account(
    platform: Platform, body: DatabaseBody
) -> tuple[ConnectionConfig, str, str]:
    """The account, what people call it, and where projects are made; raises TokenRefused."""
    from bulkhead.apps.store_platform.accounts import open_account

    config = (await open_account(platform.supabase, body)).config
    return config, f"organization {config.organization}", f"projects in {config.region}"


async def _verify(platform: Platform, name: str, config: ConnectionConfig) -> str:
    """The version of the server, tried as its administrator; raises Conflict, CapabilityMissing."""
    from bulkhead.engine.connections.claims import SERVICE
    from bulkhead.engine.errors import Conflict
    from bulkhead.engine.fleet.registry import list_servers
    from bulkhead.engine.fleet.server_check import verify_server

    async with platform.master.transaction(SERVICE, read_only=True) as tx:
        servers = await list_servers(tx)
    for other in servers:
        if other.name != name and other.address == config.server:
            raise Conflict(reason=f"server '{other.name}' is at {config.server} already")
    databases = platform.databases
    assert databases.secret is not None, "the platform has a secret"
    driver = databases.manage[config.kind](config, databases.secret)
    return await verify_server(driver)


def _takes(row: Mapping[str, Any]) -> str:
    if row["drained"]:
        return "no, drained"
    return "yes" if row["tenants"] < row["capacity"] else "no, full"


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
