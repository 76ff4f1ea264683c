"""`bulkhead provision`: give stores of the store platform their databases, and watch."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import UUID

import click

from bulkhead.cli.output import EXIT_FAILED, Output, is_terminal
from bulkhead.cli.session import run_opened

if TYPE_CHECKING:
    from bulkhead.apps.store_platform.fleet import DatabaseBody, Platform
    from bulkhead.engine.provisioning.job import ProvisioningJob
    from bulkhead.engine.system import System

APPLICATION = "store_platform"
KINDS = ("postgresql", "mysql", "supabase-database")
BAR_CELLS = 24
COLUMNS = ("id", "tenant", "label", "kind", "mode", "state", "step", "progress", "message")

Command = TypeVar("Command", bound=Callable[..., Any])


def database_options(command: Command) -> Command:
    """How the database of an owner is reached; without any of them one is made."""
    for option in reversed(
        (
            click.option(
                "--type", "kind", type=click.Choice(KINDS), default=KINDS[0], show_default=True
            ),
            click.option("--host", help="Connect the database there instead of making one."),
            click.option("--port", type=click.IntRange(1, 65535)),
            click.option("--database", help="What the database is called there."),
            click.option("--username"),
            click.option(
                "--password-file",
                type=click.Path(exists=True, dir_okay=False, path_type=Path),
                help="Read the password from a file instead of asking for it.",
            ),
            click.option("--tls", type=click.Choice(["disable", "require", "verify-full"])),
            click.option("--ca-file", type=click.Path(exists=True, path_type=Path)),
            click.option("--project-url", help="Of a Supabase project."),
        )
    ):
        command = option(command)
    return command


@click.group()
def provision() -> None:
    """Give stores of the store platform their databases, and watch how they are made."""


@provision.command("create")
@click.argument("name")
@click.option("--owner", required=True, metavar="EMAIL", help="Who the store belongs to.")
@click.option("--slug", help="What stands in its address.  [made from its name]")
@click.option("--label", "labels", multiple=True, metavar="KEY=VALUE", help="Of the server.")
@click.option("--wait/--no-wait", default=True, help="Watch until it is done.")
@database_options
@click.pass_obj
def create(
    output: Output,
    /,
    *,
    name: str,
    owner: str,
    slug: str | None,
    labels: tuple[str, ...],
    wait: bool,
    **options: Any,  # noqa: ANN401 - what click parsed
) -> int:
    """Make a store called NAME and its database."""
    from bulkhead.apps.store_platform.master.stores.model import StoreBody
    from bulkhead.apps.store_platform.master.stores.service import create_store
    from bulkhead.engine import clock
    from bulkhead.engine.connections.claims import SERVICE
    from bulkhead.engine.fleet.model import ServerKind
    from bulkhead.engine.ids import new_id

    config = config_of(options)
    if not config.is_empty:
        config.to_config(ServerKind(options["kind"]))  # Before there is a store.

    async def work(system: System) -> ProvisioningJob:
        user = await _owner(system, owner)
        store = new_id()
        async with system.database("master").transaction(SERVICE) as tx:
            await create_store(tx, store, user, StoreBody(name=name, slug=slug), clock.now())
        return await _begin(output, system, store, options["kind"], config, labels, wait=wait)

    return _report(output, run_opened(output, APPLICATION, work), wait=wait)


@provision.command("start")
@click.argument("store")
@click.option("--label", "labels", multiple=True, metavar="KEY=VALUE", help="Of the server.")
@click.option("--wait/--no-wait", default=True, help="Watch until it is done.")
@database_options
@click.pass_obj
def start(
    output: Output,
    /,
    *,
    store: str,
    labels: tuple[str, ...],
    wait: bool,
    **options: Any,  # noqa: ANN401 - what click parsed
) -> int:
    """Give STORE, an id or a slug, its database."""
    config = config_of(options)

    async def work(system: System) -> ProvisioningJob:
        found = await find_store(system, store)
        return await _begin(output, system, found, options["kind"], config, labels, wait=wait)

    return _report(output, run_opened(output, APPLICATION, work), wait=wait)


@provision.command("watch")
@click.argument("job", type=click.UUID)
@click.pass_obj
def watch(output: Output, *, job: UUID) -> int:
    """Watch a job until it has ended; works on it where nothing else does."""

    async def work(system: System) -> ProvisioningJob:
        async with working(system) as platform:
            return await _follow(output, platform, job)

    return _report(output, run_opened(output, APPLICATION, work), wait=True)


@provision.command("show")
@click.argument("job", type=click.UUID)
@click.pass_obj
def show(output: Output, *, job: UUID) -> None:
    """Show one job."""

    async def work(system: System) -> ProvisioningJob:
        found: ProvisioningJob = await platform_of(system).provisioning.get(job)  # type: ignore[arg-type]
        return found

    found = run_opened(output, APPLICATION, work)
    output.data({**_row(found), "error": found.error, "tables": _tables(found)})


@provision.command("list")
@click.option("--limit", type=click.IntRange(1, 200), default=50, show_default=True)
@click.pass_obj
def list_all(output: Output, *, limit: int) -> None:
    """List jobs, the newest first."""
    from bulkhead.engine.connections.claims import SERVICE
    from bulkhead.engine.provisioning.store import list_jobs

    async def work(system: System) -> list[dict[str, Any]]:
        async with system.database("master").transaction(SERVICE, read_only=True) as tx:
            return [_row(job) for job in await list_jobs(tx, limit=limit)]

    output.rows(COLUMNS, run_opened(output, APPLICATION, work))


@provision.command("cancel")
@click.argument("job", type=click.UUID)
@click.pass_obj
def cancel(output: Output, *, job: UUID) -> None:
    """Have everything taken back that a job has made so far."""

    async def work(system: System) -> ProvisioningJob:
        async with working(system) as platform:
            await platform.provisioning.cancel(job)  # type: ignore[arg-type]
            return await platform.provisioning.wait(job)  # type: ignore[arg-type]

    found = run_opened(output, APPLICATION, work)
    output.data(_row(found), text=f"Job {found.id}: {found.message}")


@provision.command("test")
@database_options
@click.pass_obj
def test(output: Output, /, **options: Any) -> None:  # noqa: ANN401 - what click parsed
    """Try a connection without keeping anything of it."""
    from bulkhead.apps.store_platform.routes import Provisioner
    from bulkhead.engine.fleet.model import ServerKind

    config = config_of(options)

    async def work(system: System) -> dict[str, Any]:
        kind = ServerKind(options["kind"])
        return await Provisioner(platform_of(system)).test(config.to_config(kind))

    output.data(run_opened(output, APPLICATION, work))


def platform_of(system: System) -> Platform:
    """The open platform of `system`."""
    platform: Platform = system.outside.platform(system)
    return platform


@asynccontextmanager
async def working(system: System) -> AsyncIterator[Platform]:
    """The platform, with jobs being worked on inside the block; beside a server that may do so."""
    platform = platform_of(system)
    task = asyncio.create_task(platform.run_provisioning())
    try:
        yield platform
    finally:
        task.cancel()
        await asyncio.wait([task])
        await platform.close()


async def find_store(system: System, text: str) -> UUID:
    """The store with this id or slug; raises NotFound."""
    from bulkhead.apps.store_platform.master.stores.service import find_store_by_slug, get_store
    from bulkhead.engine.connections.claims import SERVICE
    from bulkhead.engine.errors import NotFound

    async with system.database("master").transaction(SERVICE, read_only=True) as db:
        with contextlib.suppress(ValueError):
            return UUID(str((await get_store(db, UUID(text)))["id"]))
        found = await find_store_by_slug(db, text)
    if found is None:
        raise NotFound(what=f"Store '{text}'")
    return found


def config_of(options: Mapping[str, Any]) -> DatabaseBody:
    """The connection that the options of a command mean; asks for the password."""
    from bulkhead.apps.store_platform.fleet import DatabaseBody

    named = options["host"] or options["project_url"]
    password = None
    if options["password_file"] is not None:
        password = options["password_file"].read_text(encoding="utf-8").rstrip("\r\n")
    elif named:
        password = click.prompt("Password", hide_input=True, err=True)
    ca_file = options["ca_file"]
    return DatabaseBody.model_validate(
        {
            "host": options["host"],
            "port": options["port"],
            "database": options["database"],
            "username": options["username"],
            "password": password,
            "tls": options["tls"],
            "ca_pem": ca_file.read_text(encoding="utf-8") if ca_file is not None else None,
            "project_url": options["project_url"],
        }
    )


async def _owner(system: System, email: str) -> UUID:
    from bulkhead.capabilities.identity.users.service import find_user_by_email
    from bulkhead.engine.connections.claims import SERVICE
    from bulkhead.engine.errors import NotFound

    async with system.database("master").transaction(SERVICE, read_only=True) as db:
        user = await find_user_by_email(db, email)
    if user is None:
        raise NotFound(what=f"User '{email}'")
    return UUID(str(user.id))


async def _begin(  # noqa: PLR0913
    output: Output,
    system: System,
    store: UUID,
    kind: str,
    config: DatabaseBody,
    labels: tuple[str, ...],
    *,
    wait: bool,
) -> ProvisioningJob:
    from bulkhead.apps.store_platform.routes import ProvisionBody, Provisioner
    from bulkhead.engine.connections.claims import SERVICE

    body = ProvisionBody.model_validate(
        {
            "store_id": store,
            "database_type": kind,
            "config": config,
            "labels": dict(label.split("=", 1) for label in labels if "=" in label),
        }
    )
    if not wait:
        return await Provisioner(platform_of(system)).start(SERVICE, body)
    async with working(system) as platform:
        job = await Provisioner(platform).start(SERVICE, body)
        return await _follow(output, platform, job.id)


async def _follow(output: Output, platform: Platform, job: Any) -> ProvisioningJob:  # noqa: ANN401
    found = await platform.provisioning.get(job)
    live = is_terminal() and not output.quiet
    async for found in platform.provisioning.watch(job):
        if live:
            click.echo(f"\r\033[K{render_progress(found)}", nl=False, err=True)
        else:
            output.note(f"{found.progress:3} %  {found.message}")
    if live:
        click.echo("", err=True)
    return found


def render_progress(job: ProvisioningJob) -> str:
    """A line with a bar: how far a job has come, and what it does."""
    full = BAR_CELLS * job.progress // 100
    bar = "█" * full + "░" * (BAR_CELLS - full)
    return f"{bar} {job.progress:3} %  {job.message}{_tables(job)}"


def _tables(job: ProvisioningJob) -> str:
    return f"  {job.tables_created}/{job.total_tables} tables" if job.total_tables else ""


def _report(output: Output, job: ProvisioningJob, *, wait: bool) -> int:
    text = f"Store {job.tenant}: {job.message} (job {job.id})"
    output.data({**_row(job), "error": job.error}, text=text)
    failed = wait and job.state.value != "active"
    if failed and job.error is not None:
        output.note(f"  {job.error.get('hint') or ''}".rstrip())
    return EXIT_FAILED if failed else 0


def _row(job: ProvisioningJob) -> dict[str, Any]:
    return {
        "id": job.id,
        "tenant": job.tenant,
        "label": job.label,
        "kind": job.kind.value,
        "mode": job.mode.value,
        "state": job.state.value,
        "step": job.step.value if job.step is not None else None,
        "progress": job.progress,
        "message": job.message,
    }
