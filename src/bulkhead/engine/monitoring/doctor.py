"""A check-up of a whole application: everything that can be checked without changing anything."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

from bulkhead.engine.errors import BulkheadError
from bulkhead.engine.monitoring.databases import check_database
from bulkhead.engine.monitoring.findings import Finding, Level
from bulkhead.engine.monitoring.flows import check_flows
from bulkhead.engine.monitoring.invariant import Invariant, run_invariants
from bulkhead.engine.monitoring.links import check_references
from bulkhead.engine.monitoring.standard import standard_invariants

if TYPE_CHECKING:
    from bulkhead.engine.connections.router import Router
    from bulkhead.engine.migrations.files import MigrationSet
    from bulkhead.engine.topology import Topology

SetsOf = Callable[[str], Sequence["MigrationSet"]]


async def diagnose(
    router: Router,
    topology: Topology,
    *,
    sets_of: SetsOf | None = None,
    invariants: Sequence[Invariant] = (),
) -> list[Finding]:
    """Check each database, then what connects them, then the invariants; never raises for a find.

    `sets_of` gives the migrations of a database by its name; without it they are not checked.
    `invariants` are the application's own, checked after the standard ones. They are left out
    while a database does not answer, because they need all of them. The findings come in the
    order of the checks.
    """
    findings: list[Finding] = []
    answering: list[str] = []
    for database in router:
        found = await check_database(
            database,
            topology.database(database.name),
            sets_of(database.name) if sets_of else None,
        )
        findings += found
        if all(finding.code != "database_unreachable" for finding in found):
            answering.append(database.name)
    for name in answering:
        findings += await guarded(name, check_flows(router.database(name)))
        findings += await guarded(name, check_references(router, topology, name))
    if len(answering) == len(router.databases):
        findings += await check_invariants(router, [*standard_invariants(topology), *invariants])
    return findings


async def check_invariants(router: Router, invariants: Sequence[Invariant]) -> list[Finding]:
    """One finding for each invariant."""
    report = await run_invariants(router, invariants)
    findings = []
    for result in report.results:
        code, title = result.invariant.code, result.invariant.title
        if result.error is not None:
            detail = f"{title}: could not be checked, {result.error}"
            findings.append(
                Finding(Level.WARNING, "invariant_unchecked", code, detail, result.error.advice)
            )
        elif result.count:
            first = result.violations[0]
            detail = f"{title}: {result.count} violations, first {first.subject}: {first.detail}"
            findings.append(Finding(Level.ERROR, "invariant_broken", code, detail, _REMEDY))
        else:
            findings.append(Finding(Level.OK, "invariant_holds", code, title))
    return findings


_REMEDY = "Look at the rows it names before anything writes to them again."


async def guarded(subject: str, check: Awaitable[list[Finding]]) -> list[Finding]:
    """A check that fails is a finding too."""
    try:
        return await check
    except BulkheadError as error:
        return [Finding(Level.ERROR, error.code, subject, error.message, error.advice)]
