"""`bulkhead migrate ... --tenants`: the databases of an application's tenants."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import UUID

import click

from bulkhead.cli.migrate_telling import Telling, name_tenants, tell_held
from bulkhead.cli.options import Command, together
from bulkhead.cli.output import EXIT_FINDINGS, Output, is_terminal
from bulkhead.cli.session import run_opened

if TYPE_CHECKING:
    from bulkhead.engine.fleet.migrate import Due, FleetMigrator, Outcome
    from bulkhead.engine.fleet.model import TenantId
    from bulkhead.engine.system import System

T = TypeVar("T")
Options = Mapping[str, Any]

_OPTIONS = {
    "tenants": click.option("--tenants", is_flag=True, help="The databases of tenants."),
    "fleet": click.option("--fleet", help="Which fleet of tenants.  [the only one]"),
    "canary": click.option(
        "--canary", type=click.IntRange(0), default=1, show_default=True, help="So many go first."
    ),
    "wave": click.option(
        "--wave", type=click.IntRange(1), default=200, show_default=True, help="Tenants in a wave."
    ),
    "parallel": click.option(
        "--parallel", type=click.IntRange(1, 64), default=4, show_default=True, help="At once."
    ),
    "failures": click.option(
        "--failures",
        type=click.IntRange(0),
        default=0,
        show_default=True,
        help="Stop when more tenants fail.",
    ),
    "tenant": click.option(
        "--tenant", metavar="TENANT", multiple=True, help="Only this one, by id or name."
    ),
}


def fleet_options(*names: str) -> Callable[[Command], Command]:
    """The options of a command that also works on tenants; all of them unless some are named."""
    return together(*(_OPTIONS[name] for name in names or _OPTIONS))


def show_tenants_status(output: Output, application: str, options: Options) -> int:
    """Show how many tenants are at which version, and which could not be migrated."""

    async def work(migrator: FleetMigrator) -> Any:  # noqa: ANN401
        failures = await migrator.list_failed()
        names = await name_tenants(migrator, [failure.tenant for failure in failures])
        await tell_held(output, migrator, (await migrator.measure_due()).held)
        return await migrator.status(), failures, names, migrator.migrations.latest

    shares, failures, names, latest = _on_fleet(output, application, options, work)
    columns = ("kind", "version", "latest", "fingerprint", "tenants", "running", "failed")
    rows = [
        {
            "kind": share.kind,
            "version": share.version,
            "latest": latest,
            "fingerprint": share.fingerprint and share.fingerprint[:12],
            "tenants": share.tenants,
            "running": share.running,
            "failed": share.failed,
        }
        for share in shares
    ]
    output.rows(columns, rows)
    for failure in failures:
        output.note(f"{names[failure.tenant]}  {failure.error['message']}")
    behind = any(share.version < latest or share.failed for share in shares)
    return EXIT_FINDINGS if behind else 0


def show_tenants_plan(output: Output, application: str, options: Options) -> None:
    """Show how many tenants `apply` would migrate, and to what."""

    async def work(migrator: FleetMigrator) -> dict[str, Any]:
        found = await migrator.measure_due()
        await tell_held(output, migrator, found.held)
        return {
            "fleet": migrator.migrations.fleet,
            "version": migrator.migrations.latest,
            "due": found.due,
            "waiting": found.waiting,
        }

    value = _on_fleet(output, application, options, work)
    due, waiting, version = value["due"], value["waiting"], value["version"]
    text = f"{due} tenants of '{value['fleet']}' would go to {version:04}"
    if not due:
        everybody = "all others" if waiting else "all tenants"
        text = f"nothing to do: {everybody} are at {version:04}"
    output.data(value, text=text)


def apply_to_tenants(output: Output, application: str, options: Options) -> int:
    """Migrate the tenants of a fleet."""
    return _run(output, application, options, None)


def roll_back_tenants(output: Output, application: str, options: Options, version: int) -> int:
    """Take the tenants of a fleet back to a version."""
    return _run(output, application, options, version)


def _run(output: Output, application: str, options: Options, back_to: int | None) -> int:
    from bulkhead.engine.fleet.migrate import RollOut
    from bulkhead.engine.fleet.migrate_tenant import Aim
    from bulkhead.engine.migrations.plan import Direction

    async def work(migrator: FleetMigrator) -> tuple[Outcome, Due]:
        roll_out = RollOut(
            canary=options["canary"],
            wave=options["wave"],
            parallel=options["parallel"],
            failures_max=options["failures"],
            tenants=await _find_tenants(migrator, options["tenant"]),
        )
        telling = Telling(output, migrator)
        try:
            if back_to is not None:
                aim = Aim(Direction.DOWN, back_to)
                outcome = await migrator.roll_back(back_to, roll_out, tell=telling.tell)
            else:
                aim = Aim(Direction.UP, migrator.migrations.latest)
                outcome = await migrator.apply(roll_out, tell=telling.tell)
        finally:
            await telling.finish()
        due = await migrator.measure_due(aim, roll_out.tenants)
        if is_terminal() and not output.quiet and outcome.total:
            click.echo(err=True)
        await tell_held(output, migrator, due.held)
        return outcome, due

    outcome, due = _on_fleet(output, application, options, work)
    value = {
        "state": outcome.state,
        "tenants": outcome.total,
        "done": outcome.done,
        "failed": outcome.failed,
        "waiting": due.waiting,
        "seconds": round(outcome.duration_s, 2),
        "reason": outcome.reason,
    }
    output.data(value, text=None if outcome.total else "nothing to do")
    return 0 if outcome.state == "done" else EXIT_FINDINGS


async def _find_tenants(
    migrator: FleetMigrator, given: Sequence[str]
) -> tuple[TenantId, ...] | None:
    """Those that are meant, by id or name; None for all. Raises NotFound."""
    if not given:
        return None
    if migrator.names is not None:
        return tuple([await migrator.names.get(text) for text in given])
    from bulkhead.engine.fleet.model import TenantId

    try:
        return tuple(TenantId(UUID(text)) for text in given)
    except ValueError as error:
        raise click.BadParameter("tenants of this fleet have ids only") from error


def _on_fleet(
    output: Output,
    application: str,
    options: Options,
    work: Callable[[FleetMigrator], Awaitable[T]],
) -> T:
    """Run `work` on the fleet that is meant."""

    async def task(system: System) -> T:
        fleets = system.application.fleets
        known = {each.migrations.fleet: each for each in fleets(system)} if fleets else {}
        wanted = options["fleet"]
        if wanted is None and len(known) == 1:
            return await work(next(iter(known.values())))
        if wanted not in known:
            names = ", ".join(known) or "none"
            raise click.UsageError(f"name a --fleet of {application}; there are: {names}")
        return await work(known[wanted])

    return run_opened(output, application, task)
