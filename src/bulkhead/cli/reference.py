"""`bulkhead reference`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from bulkhead.cli.output import EXIT_FINDINGS, Output
from bulkhead.cli.session import application_option, run_opened
from bulkhead.cli.verb import Noun

if TYPE_CHECKING:
    from bulkhead.engine.references.repair import Repair
    from bulkhead.engine.references.sweep import SweepReport
    from bulkhead.engine.system import System
    from bulkhead.engine.topology import Reference

ACTIONS = ("null", "delete", "recreate", "ignore")


@click.group(cls=Noun)
def reference() -> None:
    """Check and repair references between databases."""


@reference.command("list", examples=["bulkhead reference list"])
@application_option
@click.pass_obj
def list_references(output: Output, *, application: str) -> None:
    """List the declared references and what a delete of their target does."""
    from bulkhead.apps import load_application

    topology = load_application(application).topology
    rows = [
        {
            "source": str(each.source),
            "target": str(each.target),
            "on_delete": each.on_delete.value,
            "fence": each.fence or None,
        }
        for each in topology.references
    ]
    output.rows(("source", "target", "on_delete", "fence"), rows)


@reference.command(
    "check",
    examples=["bulkhead reference check products.products.id 01890a5d-ac96-774b-bcce-b302099a8057"],
)
@application_option
@click.argument("target", metavar="DATABASE.TABLE.COLUMN")
@click.argument("ids", nargs=-1, required=True)
@click.pass_obj
def check_ids(output: Output, *, application: str, target: str, ids: tuple[str, ...]) -> None:
    """Check that ids exist in the table they refer to; exit code 2 names those that do not."""
    from bulkhead.engine.errors import Invalid
    from bulkhead.engine.references.check import ReferenceChecker
    from bulkhead.engine.topology import Column

    try:
        column = Column.parse(target)
    except ValueError as error:
        raise Invalid(reason=str(error)) from None

    async def work(system: System) -> int:
        checker = ReferenceChecker(system.router, system.application.topology)
        return len(await checker.check_exists(column, [_key(text) for text in ids]))

    found = run_opened(output, application, work)
    output.data({"target": target, "found": found}, text=f"All {found} are there.")


@reference.command("sweep", examples=["bulkhead reference sweep --dry-run --repair null"])
@application_option
@click.option("--only", help="Only references whose name contains this.")
@click.option("--restart", is_flag=True, help="Begin anew instead of going on.")
@click.option("--repair", "action", type=click.Choice(ACTIONS), help="What to do about orphans.")
@click.option("--reason", help="Why orphans are ignored; recorded.")
@click.option("--dry-run", is_flag=True, help="Only say what a repair would do.")
@click.pass_obj
def sweep(output: Output, /, *, application: str, **options: Any) -> int:  # noqa: ANN401
    """Check every row that refers to another database; repair what refers to nothing.

    Exit code 7 when orphans are left.
    """
    from bulkhead.engine.references.sweep import sweep_reference

    only, action = options["only"], options["action"]

    async def work(system: System) -> list[dict[str, Any]]:
        topology = system.application.topology
        rows = []
        for each in topology.references:
            if only is not None and only not in each.name:
                continue
            output.step(f"sweeping {each.name}")
            report = await sweep_reference(
                system.router, topology, each, restart=options["restart"]
            )
            row = _row(report)
            if action is not None and report.orphans:
                row["repaired"] = await _repair(
                    output, system, _wish(each, action, options["reason"]), dry=options["dry_run"]
                )
            rows.append(row)
        return rows

    rows = run_opened(output, application, work)
    columns = ("reference", "checked", "total", "coverage", "orphans", "tombstoned", "repaired")
    output.rows(columns, rows)
    left = sum(row["orphans"] - (row["repaired"] or 0) for row in rows)
    return EXIT_FINDINGS if left else 0


def _key(text: str) -> object:
    from uuid import UUID

    try:
        return UUID(text)
    except ValueError:
        return text


def _wish(each: Reference, action: str, reason: str | None) -> Repair:
    from bulkhead.engine.references.repair import Repair, RepairAction

    return Repair(each, RepairAction(action), reason)


async def _repair(output: Output, system: System, wish: Repair, *, dry: bool) -> int:
    from bulkhead.engine.references.repair import apply_repair, plan_repair

    topology = system.application.topology
    plan = await plan_repair(system.router, topology, wish)
    output.note(f"→ {wish.reference.name}: {plan.rows} rows, {plan.targets} missing targets")
    output.note(f"  {plan.statement}")
    if dry:
        return 0
    return (await apply_repair(system.router, topology, wish)).rows


def _row(report: SweepReport) -> dict[str, Any]:
    return {
        "reference": report.reference,
        "checked": report.rows_checked,
        "total": report.rows_total,
        "coverage": f"{report.coverage:.0%}",
        "orphans": report.orphans,
        "tombstoned": report.tombstoned,
        "repaired": None,
    }
