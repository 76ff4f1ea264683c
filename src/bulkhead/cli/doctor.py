"""`bulkhead doctor`."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from bulkhead.cli.output import EXIT_FINDINGS, Output
from bulkhead.cli.session import application_option, run_opened
from bulkhead.cli.verb import Verb

if TYPE_CHECKING:
    from bulkhead.engine.monitoring.findings import Finding

MARKS = {"ok": "ok  ", "info": "info", "warning": "warn", "error": "FAIL"}


@click.command(
    cls=Verb,
    examples=[
        "bulkhead doctor",
        "bulkhead doctor -a store_platform --verbose",
    ],
)
@application_option
@click.option("-v", "--verbose", is_flag=True, help="Also show what is as it should be.")
@click.pass_obj
def doctor(output: Output, *, application: str, verbose: bool) -> int:
    """Check everything that can be checked without changing anything.

    Connectivity, roles, capabilities, migrations, dead and late events, stuck sagas, references,
    keys of secrets, fleets of tenants and every invariant of the application. Exit code 7 when
    something is wrong.
    """
    from bulkhead.capabilities.vault.check_up import check_vault
    from bulkhead.engine.monitoring.doctor import diagnose, guarded
    from bulkhead.engine.provisioning.check_up import check_fleet
    from bulkhead.engine.system import System, migration_sets

    async def work(system: System) -> int:
        findings = await diagnose(
            system.router,
            system.application.topology,
            sets_of=lambda name: migration_sets(system.application, name),
            invariants=system.application.invariants,
        )
        if system.application.fleets is not None:
            for migrator in system.application.fleets(system):
                findings += await guarded(migrator.migrations.fleet, check_fleet(migrator))
        if system.vault is not None:
            findings += await guarded("vault", check_vault(system.vault))
        bad = [finding for finding in findings if finding.level in {"error", "warning"}]
        lines = [render_finding(f) for f in findings if verbose or f in bad]
        lines.append(f"{len(findings)} checks, {len(bad)} of them want attention")
        output.data([asdict(finding) for finding in findings], text="\n".join(lines))
        return EXIT_FINDINGS if any(f.level == "error" for f in bad) else 0

    return run_opened(output, application, work, verify=False)


def render_finding(finding: Finding) -> str:
    """A finding as people read it, and below it what to do.

    What is always true is told by its sentence; its code stands behind it, to be looked up.
    """
    told = f"{finding.subject:22} {finding.detail}"
    if finding.code.startswith("invariant_"):
        told = f"{finding.detail} ({finding.subject})"
    remedy = f"\n      {finding.remedy}" if finding.remedy else ""
    return f"{MARKS[finding.level]}  {told}{remedy}"
