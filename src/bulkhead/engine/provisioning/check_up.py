"""A check-up of a fleet by what its registry says; connects to no tenant."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.monitoring.findings import Finding, Level
from bulkhead.engine.provisioning.figures import QUERIES, SERVERS_MAX, STRANDED_S

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bulkhead.engine.fleet.migrate import Due, FleetMigrator

FULL: Final = 0.9
"""A server on which so much of the places is taken wants attention."""


async def check_fleet(migrator: FleetMigrator) -> list[Finding]:
    """Findings about migrations, jobs, moves, deletions and servers of one fleet."""
    fleet = migrator.migrations.fleet
    registry = migrator.databases.registry
    async with registry.transaction(SERVICE, read_only=True) as tx:
        tenants = await tx.fetch(QUERIES.tenants_by_state, fleet)
        jobs = await tx.fetch(QUERIES.jobs_by_state, fleet, STRANDED_S)
        servers = await tx.fetch(QUERIES.servers, SERVERS_MAX)
        drifted = await tx.fetch(QUERIES.drifted, fleet)
        care = await tx.fetchrow(QUERIES.care, fleet)
    due = await migrator.measure_due()
    assert care is not None, "it counts"
    found = [
        *_of_migrations(registry.application, due, care),
        *_of_drift(registry.application, drifted),
        *_of_jobs(sum(row["stranded"] for row in jobs), care),
        *_of_moves(care),
        *_of_servers_away(care),
        *_of_servers(servers),
    ]
    subject = f"{registry.application}.{fleet}"
    findings = [Finding(level, code, subject, *told) for level, code, *told in found]
    if all(finding.level is Level.INFO for finding in findings):
        told = ", ".join(f"{row['count']} {row['state']}" for row in tenants) or "no tenants yet"
        findings.append(Finding(Level.OK, "fleet_well", subject, told))
    return findings


_Found = Iterator[tuple[Level, str, str, str]]


def _of_migrations(application: str, due: Due, care: Mapping[str, int]) -> _Found:
    if due.due:
        detail = f"{due.due} tenants are behind the newest migration"
        remedy = f"Migrate them: bulkhead migrate apply -a {application} --tenants."
        yield Level.INFO, "tenants_behind", detail, remedy
    if due.waiting:
        detail = f"{due.waiting} tenants are behind and cannot be migrated while they are moved"
        yield Level.WARNING, "tenants_held_back", detail, _MOVES
    if count := care["migrations_failed"]:
        detail = f"{count} tenants could not be migrated"
        remedy = f"See why: bulkhead migrate status -a {application} --tenants."
        yield Level.WARNING, "tenant_migrations_failed", detail, remedy


def _of_drift(application: str, rows: Sequence[Mapping[str, int]]) -> _Found:
    for row in rows:
        detail = (
            f"{row['kind']} tenants at version {row['schema_version']:04} have"
            f" {row['schemas']} different schemas"
        )
        remedy = f"Somebody changed some: bulkhead migrate status -a {application} --tenants."
        yield Level.WARNING, "tenants_drifted", detail, remedy


def _of_jobs(stranded: int, care: Mapping[str, int]) -> _Found:
    if stranded:
        detail = f"{stranded} provisioning jobs are due and nobody works on them"
        yield Level.WARNING, "provisioning_stranded", detail, "Check that bulkhead up runs."
    if count := care["tenants_orphaned"]:
        detail = f"{count} tenants are being provisioned by no job"
        remedy = "Start the job again: bulkhead provision start STORE."
        yield Level.WARNING, "tenants_orphaned", detail, remedy


def _of_moves(care: Mapping[str, int]) -> _Found:
    if count := care["moves_late"]:
        yield Level.WARNING, "moves_late", f"The time of {count} moves is over", _MOVES
    if count := care["deletions_failing"]:
        detail = f"{count} deleted tenants could not be archived and dropped; it is tried again"
        yield Level.WARNING, "deletions_failing", detail, "See the server's log."


def _of_servers_away(care: Mapping[str, int]) -> _Found:
    if count := care["servers_untold"]:
        detail = f"{count} tenants were opened or closed, and their servers could not be told yet"
        remedy = "Look after the servers: bulkhead up tells them when they answer."
        yield Level.WARNING, "servers_untold", detail, remedy


def _of_servers(rows: Sequence[Mapping[str, int]]) -> _Found:
    for row in rows:
        if row["tenants"] >= row["capacity"] * FULL:
            detail = f"Server '{row['name']}' has {row['tenants']} of {row['capacity']} tenants"
            remedy = "Add one, or raise what it takes: bulkhead server add."
            yield Level.WARNING, "server_almost_full", detail, remedy


_MOVES = "Confirm them or take them back: bulkhead tenant confirm, bulkhead tenant revert."
