"""`bulkhead migrate ... --tenants`: the databases of an application's tenants."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import click

from bulkhead.cli.output import EXIT_FINDINGS, Output, is_terminal
from bulkhead.cli.session import run_opened

if TYPE_CHECKING:
    from bulkhead.engine.fleet.migrate import FleetMigrator, Outcome, Progress, RollOut
    from bulkhead.engine.system import System

T = TypeVar("T")
Command = TypeVar("Command", bound=Callable[..., Any])
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
    "tenant": click.option("--tenant", type=click.UUID, multiple=True, help="Only this tenant."),
}


def fleet_options(*names: str) -> Callable[[Command], Command]:
    """The options of a command that also works on tenants; all of them unless some are named."""

    def decorate(command: Command) -> Command:
        for name in reversed(names or tuple(_OPTIONS)):
            command = _OPTIONS[name](command)
        return command

    return decorate


def show_tenants_status(output: Output, application: str, options: Options) -> int:
    """Show how many tenants are at which version, and which could not be migrated."""

    async def work(migrator: FleetMigrator) -> Any:  # noqa: ANN401
        return await migrator.status(), await migrator.list_failed(), migrator.migrations.latest

    shares, failures, latest = _on_fleet(output, application, options, work)
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
        output.note(f"{failure.tenant}  {failure.error['message']}")
    behind = any(share.version < latest or share.failed for share in shares)
    return EXIT_FINDINGS if behind else 0


def show_tenants_plan(output: Output, application: str, options: Options) -> None:
    """Show how many tenants `apply` would migrate, and to what."""

    async def work(migrator: FleetMigrator) -> dict[str, Any]:
        return {
            "fleet": migrator.migrations.fleet,
            "version": migrator.migrations.latest,
            "due": await migrator.count_due(),
        }

    value = _on_fleet(output, application, options, work)
    due, version = value["due"], value["version"]
    text = f"{due} tenants of '{value['fleet']}' would go to {version:04}"
    output.data(value, text=text if due else f"nothing to do: all tenants are at {version:04}")


def apply_to_tenants(output: Output, application: str, options: Options) -> int:
    """Migrate the tenants of a fleet."""
    return _run(output, application, options, None)


def roll_back_tenants(output: Output, application: str, options: Options, version: int) -> int:
    """Take the tenants of a fleet back to a version."""
    return _run(output, application, options, version)


def _run(output: Output, application: str, options: Options, back_to: int | None) -> int:
    from bulkhead.engine.fleet.migrate import RollOut

    roll_out = RollOut(
        canary=options["canary"],
        wave=options["wave"],
        parallel=options["parallel"],
        failures_max=options["failures"],
        tenants=tuple(options["tenant"]) or None,
    )
    outcome = _on_fleet(output, application, options, _work(output, roll_out, back_to))
    if is_terminal() and not output.quiet and outcome.total:
        click.echo(err=True)
    value = {
        "state": outcome.state,
        "tenants": outcome.total,
        "done": outcome.done,
        "failed": outcome.failed,
        "seconds": round(outcome.duration_s, 2),
        "reason": outcome.reason,
    }
    output.data(value, text=None if outcome.total else "nothing to do")
    return 0 if outcome.state == "done" else EXIT_FINDINGS


def _work(
    output: Output, roll_out: RollOut, back_to: int | None
) -> Callable[[FleetMigrator], Awaitable[Outcome]]:
    def tell(progress: Progress) -> None:
        if output.quiet:
            return
        ended = progress.done + progress.failed
        line = (
            f"wave {progress.wave} · {ended} of {progress.total} · {progress.failed} failed"
            f" · {progress.duration_ms} ms"
        )
        if progress.error is not None:
            click.echo(f"\r{progress.tenant}  {progress.error.message}", err=True)
        if is_terminal():
            click.echo(f"\r\033[K{line}", nl=False, err=True)
        elif ended == progress.total or ended % max(1, progress.total // 10) == 0:
            click.echo(line, err=True)

    async def work(migrator: FleetMigrator) -> Outcome:
        if back_to is not None:
            return await migrator.roll_back(back_to, roll_out, tell=tell)
        return await migrator.apply(roll_out, tell=tell)

    return work


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
