"""`bulkhead migrate`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import click

from bulkhead.cli.migrate_fleet import (
    apply_to_tenants,
    fleet_options,
    roll_back_tenants,
    show_tenants_plan,
    show_tenants_status,
)
from bulkhead.cli.output import EXIT_FINDINGS, Output
from bulkhead.cli.session import application_option, run, settings_of
from bulkhead.cli.verb import Noun

if TYPE_CHECKING:
    from bulkhead.engine.connections.router import Placement
    from bulkhead.engine.migrations.files import MigrationSet

Work = Callable[[Any, "Placement", "list[MigrationSet]"], Awaitable[Any]]

only_option = click.option("-d", "--database", help="Only this database.")


@click.group(cls=Noun)
def migrate() -> None:
    """Plan, apply, roll back and verify migrations."""


@migrate.command(
    "status",
    examples=[
        "bulkhead migrate status",
        "bulkhead migrate status -a store_platform --tenants",
    ],
)
@application_option
@only_option
@fleet_options("tenants", "fleet")
@click.pass_obj
def show_status(output: Output, /, *, application: str, database: str | None, **fleet: Any) -> int:  # noqa: ANN401
    """Show which migrations each database has had, lacks, or has that the files do not.

    With --tenants: how many tenants of each fleet are at which version.
    """
    if fleet["tenants"]:
        return show_tenants_status(output, application, fleet)
    from bulkhead.engine.migrations.status import read_status

    async def work(connection: Any, placement: Placement, sets: list[MigrationSet]) -> Any:  # noqa: ANN401
        return placement.database, await read_status(connection, placement.spec, sets)

    found = _on_each(output, application, database, work)
    rows = [
        {
            "database": name,
            "namespace": each.namespace,
            "version": each.version,
            "latest": each.latest,
            "pending": ", ".join(each.pending) or None,
            "changed": ", ".join(each.changed) or None,
            "unknown": ", ".join(each.unknown) or None,
        }
        for name, status in found
        for each in status.namespaces
    ]
    output.rows(
        ("database", "namespace", "version", "latest", "pending", "changed", "unknown"), rows
    )
    return 0 if all(status.is_current for _, status in found) else EXIT_FINDINGS


@migrate.command(
    "plan",
    examples=[
        "bulkhead migrate plan -d orders",
        "bulkhead migrate plan -a store_platform --tenants",
    ],
)
@application_option
@only_option
@fleet_options("tenants", "fleet")
@click.pass_obj
def show_plan(output: Output, /, *, application: str, database: str | None, **fleet: Any) -> None:  # noqa: ANN401
    """Show what `apply` would do, and the hash that pins it to exactly that.

    With --tenants: how many tenants of each fleet `apply --tenants` would change.
    """
    if fleet["tenants"]:
        show_tenants_plan(output, application, fleet)
        return
    from bulkhead.engine.migrations.plan import plan_apply
    from bulkhead.engine.migrations.status import read_applied

    async def work(connection: Any, placement: Placement, sets: list[MigrationSet]) -> Any:  # noqa: ANN401
        applied = await read_applied(connection, placement.spec)
        return placement.database, plan_apply(placement.spec.name, sets, applied)

    found = _on_each(output, application, database, work)
    value = [
        {
            "database": name,
            "hash": plan.hash,
            "steps": [
                {"migration": step.migration.file, "direction": step.direction, "why": step.reason}
                for step in plan.steps
            ],
        }
        for name, plan in found
    ]
    lines = []
    for each in value:
        lines.append(f"{each['database']}  {each['hash'][:12]}")
        lines += [f"  {s['direction']}  {s['migration']}  ({s['why']})" for s in each["steps"]]
        if not each["steps"]:
            lines.append("  nothing to do")
    output.data(value, text="\n".join(lines))


@migrate.command(
    "apply",
    examples=[
        "bulkhead migrate apply",
        "bulkhead migrate apply -a store_platform --tenants --canary 5 --wave 100",
    ],
)
@application_option
@only_option
@click.option("--expect", metavar="HASH", help="Refuse any other plan; needs --database.")
@fleet_options()
@click.pass_obj
def apply_migrations(
    output: Output,
    /,
    *,
    application: str,
    database: str | None,
    expect: str | None,
    **fleet: Any,  # noqa: ANN401
) -> int:
    """Apply what is missing, in deploy order; each database in one transaction.

    With --tenants: the databases of all tenants of a fleet, in waves. An interrupted run is gone on
    with by the next one.
    """
    from bulkhead.engine.migrations.apply import apply

    if fleet["tenants"]:
        return apply_to_tenants(output, application, fleet)
    if expect is not None and database is None:
        raise click.UsageError("--expect belongs to one database: name it with --database")

    async def work(connection: Any, placement: Placement, sets: list[MigrationSet]) -> Any:  # noqa: ANN401
        return placement.database, await apply(
            connection, placement.spec, sets, expected_hash=expect
        )

    _print_runs(output, _on_each(output, application, database, work, ensure=True))
    return 0


@migrate.command(
    "rollback",
    examples=[
        "bulkhead migrate rollback -d orders --to 8",
        "bulkhead migrate rollback -a store_platform --tenants --tenant my-shop --to 1",
    ],
)
@application_option
@click.option("-d", "--database", help="Of which database.")
@click.option("--to", "version", type=int, required=True, help="The version to go back to.")
@click.option("--namespace", help="Whose migrations.  [the application's]")
@click.option("--yes", is_flag=True, help="Do not ask.")
@fleet_options()
@click.pass_obj
def roll_back_migrations(
    output: Output,
    /,
    *,
    version: int,
    namespace: str | None,
    **given: Any,  # noqa: ANN401
) -> int:
    """Take migrations back; data in dropped columns and tables is gone."""
    from bulkhead.engine.migrations.rollback import roll_back

    application, database = given["application"], given["database"]
    if (database is None) != given["tenants"]:
        raise click.UsageError("name one --database, or all --tenants")
    what = f"database {database}"
    if given["tenants"]:
        named = ", ".join(given["tenant"])
        what = f"tenants {named}" if named else "all tenants"
    output.note(f"→ application {application} · {what} · back to {version:04}")
    if not given["yes"]:
        click.confirm(
            "Data in dropped columns and tables will be gone. Go on?", abort=True, err=True
        )
    if given["tenants"]:
        return roll_back_tenants(output, application, given, version)
    target = {namespace or application: version}

    async def work(connection: Any, placement: Placement, sets: list[MigrationSet]) -> Any:  # noqa: ANN401
        return placement.database, await roll_back(connection, placement.spec, sets, target)

    _print_runs(output, _on_each(output, application, database, work))
    return 0


@migrate.command("verify", examples=["bulkhead migrate verify -d orders"])
@application_option
@only_option
@click.pass_obj
def verify_migrations(output: Output, *, application: str, database: str | None) -> int:
    """Compare each database with one freshly built from the files; exit code 7 on drift."""
    from dataclasses import replace

    from bulkhead.engine.connections.admin import administer
    from bulkhead.engine.ids import new_id
    from bulkhead.engine.migrations.verify import verify

    async def work(connection: Any, placement: Placement, sets: list[MigrationSet]) -> Any:  # noqa: ANN401
        driver = placement.driver
        spec = replace(placement.spec, name=f"scratch_{new_id().hex[-12:]}")
        await driver.ensure_database(spec)
        try:
            async with administer(placement, spec) as scratch:
                return placement.database, await verify(connection, scratch, spec, sets)
        finally:
            await driver.drop_database(spec)

    found = _on_each(output, application, database, work)
    rows = [
        {"database": name, "kind": d.kind, "name": d.name, "change": d.change}
        for name, differences in found
        for d in differences
    ]
    if rows or output.as_json:
        output.rows(("database", "change", "kind", "name"), rows)
    else:
        output.note("No drift: every database is what its files make.")
    return EXIT_FINDINGS if rows else 0


def _print_runs(output: Output, found: list[Any]) -> None:
    rows = [
        {
            "database": name,
            "migration": f"{step.namespace}/{step.label}",
            "direction": step.direction,
            "ms": step.duration_ms,
        }
        for name, done in found
        for step in done.steps
    ]
    if rows or output.as_json:
        output.rows(("database", "direction", "migration", "ms"), rows)
    else:
        output.note("Nothing to do.")


def _on_each(
    output: Output, application: str, only: str | None, work: Work, *, ensure: bool = False
) -> list[Any]:
    """Run `work` on an administrator's connection to each database in deploy order."""
    from bulkhead.apps import load_application
    from bulkhead.engine.connections.admin import administer
    from bulkhead.engine.connections.router import PlacementUnknown
    from bulkhead.engine.system import migration_sets, place, started, verify_made

    app = load_application(application)

    async def task() -> list[Any]:
        placements = place(app, settings_of(output))
        chosen = [p for p in placements if only in (None, p.database)]
        if not chosen:
            known = ", ".join(p.database for p in placements)
            raise PlacementUnknown(application=application, database=only, known=known)
        if not ensure:
            verify_made(placements)
        results = []
        async with started(placements):
            for placement in chosen:
                if ensure:
                    await placement.driver.ensure_database(placement.spec)
                sets = migration_sets(app, placement.database)
                async with administer(placement) as connection:
                    results.append(await work(connection, placement, sets))
        return results

    return run(task())
