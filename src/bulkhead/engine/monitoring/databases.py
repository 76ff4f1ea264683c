"""Whether a database answers, is safe to serve, can do what is needed and is up to date."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from bulkhead.engine.clock import monotonic_s
from bulkhead.engine.connections.claims import ANON, SERVICE
from bulkhead.engine.connections.roles import RoleUnsafe, verify_roles
from bulkhead.engine.drivers.errors import PoolerInBetween
from bulkhead.engine.errors import BulkheadError
from bulkhead.engine.migrations.registry import list_applied
from bulkhead.engine.migrations.status import NamespaceStatus, compare
from bulkhead.engine.monitoring.findings import Finding, Level
from bulkhead.engine.topology import SecurityLevel

if TYPE_CHECKING:
    from bulkhead.engine.connections.database import OpenDatabase
    from bulkhead.engine.migrations.files import MigrationSet
    from bulkhead.engine.topology import Database

NEEDED = {
    "transactional_ddl": "migrations that fail would leave halves behind",
    "row_level_security": "nothing would keep users apart",
    "set_role": "no transaction could take on its role",
    "skip_locked": "workers would wait for one another",
    "advisory_locks": "migrations could run twice at once",
}
"""Capabilities without which the engine does not work, and what would happen."""

WANTED = {
    "policy_subquery": "policies must be written without (select ...)",
    "listen_notify": "events of other processes are found by a sweep only",
    "snapshot_export": "a consistent backup is not possible",
    "template_clone": "new databases are built statement by statement",
}
"""Capabilities that are done without, and at what price."""


async def check_database(
    database: OpenDatabase, declared: Database, sets: Sequence[MigrationSet] | None
) -> list[Finding]:
    """Findings about one database; the first that keeps it from answering ends them."""
    try:
        findings = [await _connect(database)]
    except BulkheadError as error:
        return [
            Finding(Level.ERROR, "database_unreachable", database.name, error.message, error.advice)
        ]
    try:
        findings.append(await _check_roles(database))
        findings += await _check_capabilities(database, declared)
        if sets is not None:
            findings += await _check_migrations(database, sets)
    except BulkheadError as error:
        findings.append(
            Finding(Level.ERROR, error.code, database.name, error.message, error.advice)
        )
    return findings


async def _connect(database: OpenDatabase) -> Finding:
    for claims in (ANON, SERVICE):
        async with database.transaction(claims, read_only=True) as tx:
            await tx.fetchval("select 1")
    began_s = monotonic_s()
    async with database.transaction(ANON, read_only=True) as tx:
        await tx.fetchval("select 1")
    took_ms = (monotonic_s() - began_s) * 1000
    detail = f"answers in {took_ms:.1f} ms on {database.driver.server}"
    return Finding(Level.OK, "database_reachable", database.name, detail)


async def _check_roles(database: OpenDatabase) -> Finding:
    try:
        await verify_roles(database)
    except RoleUnsafe as error:
        return Finding(Level.ERROR, error.code, database.name, error.message, error.advice)
    detail = "neither login can pass over row level security by itself"
    return Finding(Level.OK, "roles_safe", database.name, detail)


async def _check_capabilities(database: OpenDatabase, declared: Database) -> list[Finding]:
    seen = await database.driver.probe(database.spec)
    findings = [
        Finding(
            level,
            "capability_missing",
            database.name,
            f"{name.replace('_', ' ')} does not work: {price}",
            "Use a server that has it." if level is Level.ERROR else "",
        )
        for level, wanted in ((Level.ERROR, NEEDED), (Level.INFO, WANTED))
        for name, price in wanted.items()
        if not getattr(seen, name)
    ]
    findings += [
        Finding(
            Level.ERROR,
            "extension_missing",
            database.name,
            f"extension '{extension}' is not installed",
            "Install it on the server: create extension needs its administrator.",
        )
        for extension in sorted(set(declared.extensions) - seen.extensions)
    ]
    if declared.security is SecurityLevel.HIGH and not seen.tls and _is_remote(database):
        findings.append(
            Finding(
                Level.ERROR,
                "tls_missing",
                database.name,
                "a database of security level 'high' is reached without TLS",
                "Add sslmode=verify-full to its DSN.",
            )
        )
    if seen.behind_pooler:
        findings.append(_describe_pooler(database, keeps_sessions=seen.keeps_sessions))
    if not findings:
        detail = f"PostgreSQL {seen.server_version} can do all that is needed"
        findings.append(Finding(Level.OK, "capabilities_complete", database.name, detail))
    return findings


def _describe_pooler(database: OpenDatabase, *, keeps_sessions: bool) -> Finding:
    price = "each of its pools, one for a login, counts against the server's connections"
    if keeps_sessions:
        detail = f"a pooler in session mode stands in front: {price}"
        return Finding(Level.INFO, "behind_pooler", database.name, detail)
    if database.is_pooled:
        detail = (
            "a pooler in transaction mode stands in front; migrations, LISTEN and dumps go to "
            f"{database.driver.server} itself: {price}"
        )
        return Finding(Level.INFO, "behind_pooler", database.name, detail)
    undeclared = PoolerInBetween(server=database.driver.server)
    return Finding(
        Level.ERROR, undeclared.code, database.name, undeclared.message, undeclared.advice
    )


def _is_remote(database: OpenDatabase) -> bool:
    server = database.driver.server
    return not server.startswith(("embedded:", "/", "localhost", "127.", "[::1]"))


async def _check_migrations(database: OpenDatabase, sets: Sequence[MigrationSet]) -> list[Finding]:
    async with database.transaction(SERVICE, read_only=True) as tx:
        applied = await list_applied(tx)
    status = compare(database.name, sets, applied)
    findings = [
        finding for namespace in status.namespaces for finding in _describe(database, namespace)
    ]
    if status.foreign:
        detail = f"migrations of {', '.join(status.foreign)} are not part of this program"
        findings.append(Finding(Level.INFO, "migrations_foreign", database.name, detail))
    if not findings:
        versions = ", ".join(f"{each.namespace} {each.version:04}" for each in status.namespaces)
        findings.append(Finding(Level.OK, "migrations_current", database.name, versions))
    return findings


def _describe(placed: OpenDatabase, status: NamespaceStatus) -> Iterator[Finding]:
    database = placed.name
    if status.pending:
        detail = f"{status.namespace} lacks {', '.join(status.pending)}"
        remedy = f"Apply them: bulkhead migrate apply -a {placed.application}."
        yield Finding(Level.ERROR, "migrations_pending", database, detail, remedy)
    if status.changed:
        detail = f"{status.namespace} had {', '.join(status.changed)} with another text"
        remedy = "Restore the files; see what differs in the database: bulkhead migrate verify."
        yield Finding(Level.ERROR, "migrations_changed", database, detail, remedy)
    if status.unknown:
        detail = f"{status.namespace} had {', '.join(status.unknown)}, which this program lacks"
        remedy = "Install the release that has them, or roll them back."
        yield Finding(Level.ERROR, "migrations_unknown", database, detail, remedy)
