"""`bulkhead database`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from bulkhead.cli.output import Output
from bulkhead.cli.session import application_option, run_opened
from bulkhead.cli.verb import Noun

if TYPE_CHECKING:
    from bulkhead.engine.connections.database import OpenDatabase
    from bulkhead.engine.system import System

ROLES = {"client": "anon", "service": "service_role"}

login_option = click.option(
    "--login",
    type=click.Choice(["client", "service", "admin"]),
    default="service",
    show_default=True,
    help="With which rights.",
)


@click.group(cls=Noun)
def database() -> None:
    """List, show and reach databases."""


@database.command("list", examples=["bulkhead database list -a store_platform"])
@application_option
@click.pass_obj
def list_databases(output: Output, *, application: str) -> None:
    """List the databases of an application in deploy order, with their size."""

    async def work(system: System) -> list[dict[str, Any]]:
        return [await _describe(each) for each in system.router]

    columns = ("database", "physical_name", "server", "version", "size", "connections")
    output.rows(columns, run_opened(output, application, work, verify=False))


@database.command("show", examples=["bulkhead database show orders"])
@application_option
@click.argument("name")
@click.pass_obj
def show_database(output: Output, *, application: str, name: str) -> None:
    """Show one database: its tables with their rows, its server, what the server can do."""

    async def work(system: System) -> dict[str, Any]:
        from dataclasses import asdict

        each = system.database(name)
        tables = await _tables(each)
        capabilities = asdict(await each.driver.probe(each.spec))
        capabilities["extensions"] = sorted(capabilities["extensions"])
        return {**await _describe(each), "capabilities": capabilities, "tables": tables}

    found = run_opened(output, application, work, verify=False)
    lines = [
        f"{key:14} {value}" for key, value in found.items() if not isinstance(value, dict | list)
    ]
    lines += ["", "tables (estimated rows)"]
    lines += [f"  {table['name']:32} {table['rows']:>10}" for table in found["tables"]]
    lines += ["", "capabilities"]
    lines += [
        f"  {key:24} {', '.join(value) if isinstance(value, list) else value}"
        for key, value in found["capabilities"].items()
    ]
    output.data(found, text="\n".join(lines))


@database.command("url", examples=["bulkhead database url orders --login service"])
@application_option
@login_option
@click.argument("name")
@click.pass_obj
def show_url(output: Output, *, application: str, name: str, login: str) -> None:
    """Print a connection URL; it holds the password."""
    url = run_opened(output, application, lambda system: _url(system, name, login), verify=False)
    output.data({"url": url}, text=url)


@database.command(
    "psql",
    examples=[
        "bulkhead database psql orders",
        'bulkhead database psql orders -- -c "select count(*) from orders"',
    ],
)
@application_option
@login_option
@click.argument("name")
@click.argument("arguments", nargs=-1)
@click.pass_obj
def open_psql(
    output: Output, *, application: str, name: str, login: str, arguments: tuple[str, ...]
) -> int:
    """Open psql on a database; what follows `--` is given to psql."""
    import subprocess

    from bulkhead.engine.connections.admin import program_of, url_of

    async def work(system: System) -> int:
        import asyncio
        import os

        placed = system.database(name)
        command = [program_of(placed, "psql"), url_of(placed, login), *arguments]
        # The logins have no rights of their own until they take on their role.
        options = f"-c role={ROLES[login]}" if login in ROLES else ""
        environment = {**os.environ, "PGOPTIONS": options}  # noqa: TID251 - psql's, not ours
        done = await asyncio.to_thread(subprocess.run, command, check=False, env=environment)
        return done.returncode

    return run_opened(output, application, work, verify=False)


@database.command(
    "extract", examples=["bulkhead database extract store_platform.store --dialect mysql"]
)
@click.option(
    "--dialect",
    type=click.Choice(["postgresql", "mysql"]),
    default="postgresql",
    show_default=True,
    help="In whose SQL; MariaDB's is MySQL's.",
)
@click.option(
    "--client-roles/--no-client-roles",
    default=True,
    show_default=True,
    help="Whether the roles anon and authenticated exist, so that policies can name them.",
)
@click.argument("schema")
@click.pass_obj
def extract_schema(output: Output, *, dialect: str, client_roles: bool, schema: str) -> None:
    """Print the declared schema of a database, such as store_platform.store, as SQL."""
    from dataclasses import asdict

    from bulkhead.apps import load_schema
    from bulkhead.engine.extract.extract import Dialect, ExtractOptions, extract

    options = ExtractOptions(client_roles=client_roles)
    extracted = extract(load_schema(schema), Dialect(dialect), options)
    found = {
        "schema": schema,
        "dialect": dialect,
        "fingerprint": extracted.fingerprint,
        "tables": [
            {**asdict(table), "unique_constraints": sorted(table.unique_constraints)}
            for table in extracted.tables
        ],
    }
    output.data(found, text=extracted.script.rstrip("\n"))


async def _url(system: System, name: str, login: str) -> str:
    from bulkhead.engine.connections.admin import url_of

    return url_of(system.database(name), login)


async def _describe(each: OpenDatabase) -> dict[str, Any]:
    [row] = await _ask(
        each,
        "select current_setting('server_version') as version,"  # shape: sql - about the server
        " pg_size_pretty(pg_database_size(current_database())) as size,"
        " (select numbackends from pg_stat_database where datname = current_database())"
        " as connections",
    )
    return {
        "database": each.name,
        "physical_name": each.spec.name,
        "server": each.driver.server,
        **row,
    }


async def _tables(each: OpenDatabase) -> list[dict[str, Any]]:
    return await _ask(
        each,
        "select c.relname as name, greatest(s.n_live_tup, 0) as rows"  # shape: sql - catalogue
        " from pg_class c join pg_stat_all_tables s on s.relid = c.oid"
        " where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p')"
        " order by c.relname",
    )


async def _ask(each: OpenDatabase, query: str) -> list[dict[str, Any]]:
    """Ask as the administrator, who alone may see all of it."""
    from bulkhead.engine.connections.admin import administer

    async with administer(each) as connection:
        return [dict(row) for row in await connection.fetch(query)]
