"""Whether references can be kept and swept, and what sweeps have found."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.connections.queries import load_queries
from bulkhead.engine.monitoring.findings import Finding, Level
from bulkhead.engine.references.columns import find_table, qualified
from bulkhead.engine.references.referrers import read_referrers
from bulkhead.engine.topology import OnDelete

if TYPE_CHECKING:
    from bulkhead.engine.connections.router import Router
    from bulkhead.engine.connections.transaction import Record, Transaction
    from bulkhead.engine.topology import Reference, Topology

QUERIES = load_queries(__package__)

SWEEP_AGE_S_MAX = 2 * 86_400.0
FENCE_AGE_S_MAX = 3600.0


async def check_references(router: Router, topology: Topology, database: str) -> list[Finding]:
    """Findings about the references from and to one database."""
    findings: list[Finding] = []
    async with router.database(database).transaction(SERVICE, read_only=True) as tx:
        for reference in topology.references_from(database):
            findings += await _check_source(tx, topology, reference)
        findings += await _check_targets(tx, topology, database)
    return findings


async def _check_source(tx: Transaction, topology: Topology, reference: Reference) -> list[Finding]:
    referrers = await read_referrers(tx, topology, reference)
    row = await tx.fetchrow(QUERIES.reference_state, reference.name)
    assert row is not None, "a select of scalars returns a row"
    findings = list(_describe_state(reference, row))
    if reference.on_delete is OnDelete.SET_NULL and referrers.column.required:
        detail = "is emptied when its target is deleted, but its column must not be empty"
        remedy = f"alter table {referrers.table.name} alter column ... drop not null"
        findings.append(
            Finding(Level.ERROR, "reference_contradicted", reference.name, detail, remedy)
        )
    if not referrers.column.indexed:
        detail = "no index begins with the column, so that sweeps and deletions read every row"
        remedy = f"create index on {referrers.table.name} ({reference.source.column})"
        findings.append(Finding(Level.INFO, "reference_unindexed", reference.name, detail, remedy))
    return findings


def _describe_state(reference: Reference, row: Record) -> Iterator[Finding]:
    sweep = f"bulkhead reference sweep --only '{reference.name}'"
    if row["violations"]:
        detail = f"{row['violations']} orphans, the oldest found {row['oldest_s']:.0f} s ago"
        remedy = f"See what could be done: {sweep} --repair null --dry-run"
        yield Finding(Level.WARNING, "orphans_open", reference.name, detail, remedy)
    elif row["sweep_age_s"] is None:
        yield Finding(Level.INFO, "reference_never_swept", reference.name, "never swept", sweep)
    elif row["sweep_age_s"] > SWEEP_AGE_S_MAX:
        detail = f"last swept completely {row['sweep_age_s'] / 3600:.0f} h ago"
        yield Finding(Level.WARNING, "reference_sweep_old", reference.name, detail, sweep)
    else:
        detail = f"no orphans, {row['rows_checked']} rows checked {row['sweep_age_s']:.0f} s ago"
        yield Finding(Level.OK, "reference_resolves", reference.name, detail)


async def _check_targets(tx: Transaction, topology: Topology, database: str) -> list[Finding]:
    findings = []
    restricting: dict[str, bool] = {}
    for reference in topology.references_to(database):
        name = qualified(find_table(topology, reference.target))
        restricts = reference.on_delete is OnDelete.RESTRICT
        restricting[name] = restricting.get(name, False) or restricts
    for name, restricts in restricting.items():
        triggers = await tx.fetchval(QUERIES.reference_triggers, name) or []
        if "leave_tombstone" not in triggers:
            detail = f"deleting from {name} leaves no tombstones, so that orphans look like losses"
            remedy = "Add a trigger with bulkhead.leave_tombstone in a migration."
            findings.append(
                Finding(Level.ERROR, "tombstone_trigger_missing", database, detail, remedy)
            )
        if restricts and "demand_fence" not in triggers:
            detail = f"rows of {name} may be deleted although a reference restricts it"
            remedy = "Add a trigger with bulkhead.demand_fence in a migration."
            findings.append(
                Finding(Level.WARNING, "fence_trigger_missing", database, detail, remedy)
            )
    if fences := await tx.fetchval(QUERIES.count_old_fences, FENCE_AGE_S_MAX):
        detail = f"{fences} rows are fenced for a deletion that never finished"
        remedy = "Repeat the deletion, or lift the fences."
        findings.append(Finding(Level.WARNING, "fences_left", database, detail, remedy))
    return findings
