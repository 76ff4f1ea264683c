"""`bulkhead doctor`."""

from __future__ import annotations

from dataclasses import asdict

import click

from bulkhead.cli.output import EXIT_FINDINGS, Output
from bulkhead.cli.session import application_option, run_opened

MARKS = {"ok": "ok  ", "info": "info", "warning": "warn", "error": "FAIL"}


@click.command()
@application_option
@click.option("-v", "--verbose", is_flag=True, help="Also show what is as it should be.")
@click.pass_obj
def doctor(output: Output, *, application: str, verbose: bool) -> int:
    """Check everything that can be checked without changing anything.

    Connectivity, roles, capabilities, migrations, dead and late events, stuck sagas, references,
    keys of secrets and every invariant of the application. Exit code 7 when something is wrong.
    """
    from bulkhead.capabilities.vault.check_up import check_vault
    from bulkhead.engine.monitoring.doctor import diagnose
    from bulkhead.engine.system import System, migration_sets

    async def work(system: System) -> int:
        findings = await diagnose(
            system.router,
            system.application.topology,
            sets_of=lambda name: migration_sets(system.application, name),
            invariants=system.application.invariants,
        )
        if system.vault is not None:
            findings += await check_vault(system.vault)
        bad = [finding for finding in findings if finding.level in {"error", "warning"}]
        lines = [
            f"{MARKS[f.level]}  {f.subject:22} {f.detail}"
            + (f"\n      {f.remedy}" if f.remedy else "")
            for f in findings
            if verbose or f in bad
        ]
        lines.append(f"{len(findings)} checks, {len(bad)} of them want attention")
        output.data([asdict(finding) for finding in findings], text="\n".join(lines))
        return EXIT_FINDINGS if any(f.level == "error" for f in bad) else 0

    return run_opened(output, application, work)
