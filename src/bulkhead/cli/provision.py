"""`bulkhead provision`: give stores of the store platform their databases, and watch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

import click

from bulkhead.cli.connection import config_of, database_options, label_option
from bulkhead.cli.options import parse_body
from bulkhead.cli.output import EXIT_FAILED, Output
from bulkhead.cli.progress import LiveBar
from bulkhead.cli.session import Running, run_opened
from bulkhead.cli.stores import APPLICATION, find_store, platform_of, working
from bulkhead.cli.verb import Noun

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from bulkhead.apps.store_platform.fleet import DatabaseBody, Platform
    from bulkhead.engine.provisioning.job import JobId, ProvisioningJob
    from bulkhead.engine.system import System

    Work = Callable[[System], Awaitable[ProvisioningJob]]

COLUMNS = ("id", "tenant", "label", "kind", "mode", "state", "step", "progress", "message")

wait_option = click.option(
    "--wait/--no-wait", default=True, show_default=True, help="Watch until it is done."
)


@click.group(cls=Noun)
def provision() -> None:
    """Give stores of the store platform their databases, and watch how they are made.

    JOB is the id of a job, or the store whose last one is meant, by its id or slug.
    """


@provision.command(
    "create",
    examples=[
        'bulkhead provision create "My Shop" --owner owner@example.com',
        'bulkhead provision create "My Shop" --owner owner@example.com --label region=eu',
    ],
)
@click.argument("name")
@click.option("--owner", required=True, metavar="EMAIL", help="Who the store belongs to.")
@click.option("--slug", help="What stands in its address.  [made from its name]")
@label_option
@wait_option
@database_options
@click.pass_obj
def create(
    output: Output,
    /,
    *,
    name: str,
    owner: str,
    slug: str | None,
    labels: Mapping[str, str],
    wait: bool,
    **options: Any,  # noqa: ANN401 - what click parsed
) -> int:
    """Make a store called NAME and its database."""
    from bulkhead.apps.store_platform.master.stores.model import StoreBody
    from bulkhead.apps.store_platform.master.stores.service import create_store
    from bulkhead.engine import clock
    from bulkhead.engine.connections.claims import SERVICE
    from bulkhead.engine.fleet.guarded import verify_allowed
    from bulkhead.engine.fleet.model import ServerKind
    from bulkhead.engine.ids import new_id

    config = config_of(options)
    if not config.is_empty:
        config.to_config(ServerKind(options["kind"]))  # Before there is a store.
    body = parse_body(StoreBody, {"name": name, "slug": slug})

    async def work(system: System) -> ProvisioningJob:
        if not config.is_empty:
            kind = ServerKind(options["kind"])
            await verify_allowed(platform_of(system).egress, config.to_config(kind))
        user = await _owner(system, owner)
        store = new_id()
        async with system.database("master").transaction(SERVICE) as tx:
            await create_store(tx, store, user, body, clock.now(), by_operator=True)
        return await _begin(output, system, store, options["kind"], config, labels, wait=wait)

    return _run(output, work, wait=wait)


@provision.command(
    "start",
    examples=[
        "bulkhead provision start my-shop",
        (
            "bulkhead provision start my-shop --type mysql --host db.example.com "
            "--database shop --username shop --password-file password"
        ),
    ],
)
@click.argument("store")
@label_option
@wait_option
@database_options
@click.pass_obj
def start(
    output: Output,
    /,
    *,
    store: str,
    labels: Mapping[str, str],
    wait: bool,
    **options: Any,  # noqa: ANN401 - what click parsed
) -> int:
    """Give STORE, an id or a slug, its database."""
    config = config_of(options)

    async def work(system: System) -> ProvisioningJob:
        found = await find_store(system, store)
        return await _begin(output, system, found, options["kind"], config, labels, wait=wait)

    return _run(output, work, wait=wait)


@provision.command(
    "watch",
    short_help="Watch a job until it has ended.",
    examples=["bulkhead provision watch my-shop"],
)
@click.argument("job")
@click.pass_obj
def watch(output: Output, *, job: str) -> int:
    """Watch a job until it has ended; works on it where nothing else does."""

    async def work(system: System) -> ProvisioningJob:
        found = await _find_job(system, job)
        async with working(system) as platform:
            return await _follow(output, platform, found.id)

    return _run(output, work, wait=True)


@provision.command("show", examples=["bulkhead provision show my-shop"])
@click.argument("job")
@click.pass_obj
def show(output: Output, *, job: str) -> None:
    """Show one job."""

    async def work(system: System) -> ProvisioningJob:
        return await _find_job(system, job)

    found = run_opened(output, APPLICATION, work)
    output.data(
        {**_row(found), "error": found.error, "tables": _tables(found)}, text=_described(found)
    )


@provision.command("list", examples=["bulkhead provision list --limit 10"])
@click.option("--limit", type=click.IntRange(1, 200), default=50, show_default=True)
@click.pass_obj
def list_all(output: Output, *, limit: int) -> None:
    """List jobs, the newest first."""
    from bulkhead.engine.connections.claims import SERVICE
    from bulkhead.engine.provisioning.store import list_jobs

    async def work(system: System) -> list[dict[str, Any]]:
        async with system.database("master").transaction(SERVICE, read_only=True) as tx:
            return [_row(job) for job in await list_jobs(tx, limit=limit)]

    rows = run_opened(output, APPLICATION, work)
    if output.as_json:
        output.rows(COLUMNS, rows)
        return
    shown = [{**row, "store": row["label"], "%": row["progress"]} for row in rows]
    output.rows(("store", "kind", "mode", "state", "%", "message"), shown)


@provision.command("cancel", examples=["bulkhead provision cancel my-shop"])
@click.argument("job")
@click.pass_obj
def cancel(output: Output, *, job: str) -> None:
    """Have everything taken back that a job has made so far."""

    async def work(system: System) -> ProvisioningJob:
        found = (await _find_job(system, job)).id
        async with working(system) as platform:
            await platform.provisioning.cancel(found)
            return await _follow(output, platform, found)

    found = run_opened(output, APPLICATION, work)
    output.data(_row(found), text=_outcome(found))


@provision.command(
    "test",
    examples=[
        (
            "bulkhead provision test --type mysql --host db.example.com --database shop "
            "--username shop --password-file password"
        )
    ],
)
@database_options
@click.pass_obj
def test(output: Output, /, **options: Any) -> None:  # noqa: ANN401 - what click parsed
    """Try a connection without keeping anything of it."""
    from bulkhead.apps.store_platform.routes import Provisioner
    from bulkhead.engine.fleet.model import ServerKind

    config = config_of(options)
    if not config.reaches_out:
        raise click.UsageError("name the database: --host, --database and --username")

    async def work(system: System) -> dict[str, Any]:
        return await Provisioner(platform_of(system)).probe(ServerKind(options["kind"]), config)

    found = run_opened(output, APPLICATION, work)
    if options["organization"]:
        facts: tuple[str, ...] = (f"organization {found['organizationSlug']}", found["region"])
    else:
        version = found["serverVersion"].partition(" on ")[0]
        facts = (version, f"{found['tables']} tables", f"{found['responseTimeMs']} ms")
    output.data(found, text=f"{found['message']}: {', '.join(facts)}.")


async def _find_job(system: System, text: str) -> ProvisioningJob:
    """The job with this id, or the last one of a store; raises NotFound, JobUnknown."""
    from bulkhead.engine.connections.claims import SERVICE
    from bulkhead.engine.errors import NotFound
    from bulkhead.engine.fleet.model import TenantId
    from bulkhead.engine.provisioning.job import JobId, JobUnknown
    from bulkhead.engine.provisioning.store import find_last_job, get_job

    async with system.database("master").transaction(SERVICE, read_only=True) as tx:
        try:
            return await get_job(tx, JobId(UUID(text)))
        except (ValueError, JobUnknown) as error:
            unknown = error
    try:
        store = TenantId(await find_store(system, text))
    except NotFound:
        if isinstance(unknown, JobUnknown):
            raise unknown from None
        raise
    async with system.database("master").transaction(SERVICE, read_only=True) as tx:
        last = await find_last_job(tx, store)
    if last is None:
        raise NotFound(what=f"A provisioning job of store '{text}'")
    return last


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
    labels: Mapping[str, str],
    *,
    wait: bool,
) -> ProvisioningJob:
    from bulkhead.apps.store_platform.routes import ProvisionBody, Provisioner
    from bulkhead.engine.connections.claims import SERVICE

    told = {"store_id": store, "database_type": kind, "config": config, "labels": labels}
    body = parse_body(ProvisionBody, told)
    if not wait:
        job = await Provisioner(platform_of(system)).start(SERVICE, body)
        if Running.find(system.settings) is None:
            output.note("Nothing works on it before `bulkhead up`, or `provision watch`.")
        return job
    async with working(system) as platform:
        job = await Provisioner(platform).start(SERVICE, body)
        return await _follow(output, platform, job.id)


async def _follow(output: Output, platform: Platform, job: JobId) -> ProvisioningJob:
    found = await platform.provisioning.get(job)
    try:
        with LiveBar(output) as bar:
            async for found in platform.provisioning.watch(job):
                bar.tell(found.progress, found.message)
    finally:
        if not found.has_ended:
            output.note(f"\nIt goes on by itself. Watch it: bulkhead provision watch {found.label}")
    return found


def _run(output: Output, work: Work, *, wait: bool) -> int:
    """Run `work` and say how its job ended, and what to do next."""
    job = run_opened(output, APPLICATION, work)
    output.data({**_row(job), "error": job.error}, text=_outcome(job))
    match job.state.value:
        case "active":
            output.note(f"Look at it: bulkhead tenant show {job.label}")
        case "failed" | "cancelled":
            if hint := (job.error or {}).get("hint"):
                output.note(f"  {hint}")
            same = ", with the options of its database" if job.mode.value == "connect" else ""
            output.note(f"Try again: bulkhead provision start {job.label}{same}")
        case _:
            output.note(f"Watch it: bulkhead provision watch {job.label}")
    return EXIT_FAILED if wait and job.state.value != "active" else 0


def _outcome(job: ProvisioningJob) -> str:
    """How it is with a job, in a sentence."""
    match job.state.value:
        case "active":
            tables = f" of {job.total_tables} tables" if job.total_tables else ""
            return f"Store '{job.label}' is ready, on a {job.kind} database{tables}."
        case "failed":
            return f"Store '{job.label}' got no database. {job.message}"
        case "cancelled":
            return f"Store '{job.label}' got no database: cancelled, nothing is left of it."
    return f"Store '{job.label}' gets its database: {job.message[:1].lower()}{job.message[1:]}."


def _described(job: ProvisioningJob) -> str:
    found = {
        "store": f"{job.label} ({job.tenant})",
        "job": job.id,
        "database": f"{job.kind.value}, " + ("made" if job.mode.value == "create" else "connected"),
        "state": f"{job.state.value}, {job.progress} %",
        "step": (job.step_name or "none yet").replace("_", " "),
        "tables": _tables(job).strip() or "-",
        "message": job.message,
    }
    lines = [f"{name:8}  {value}" for name, value in found.items()]
    if job.error is not None:
        lines.append(f"error     [{job.error.get('code')}] {job.error.get('hint') or ''}".rstrip())
    return "\n".join(lines)


def _tables(job: ProvisioningJob) -> str:
    return f"{job.tables_created}/{job.total_tables} tables" if job.total_tables else ""


def _row(job: ProvisioningJob) -> dict[str, Any]:
    return {
        "id": job.id,
        "tenant": job.tenant,
        "label": job.label,
        "kind": job.kind.value,
        "mode": job.mode.value,
        "state": job.state.value,
        "step": job.step_name,
        "progress": job.progress,
        "message": job.message,
    }
