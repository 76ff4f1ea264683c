"""Migrate the database of one tenant, whatever server it is on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from bulkhead.engine.drivers.errors import FAILURES, translate
from bulkhead.engine.drivers.postgres_connection import PostgresConnection
from bulkhead.engine.drivers.protocol import DatabaseSpec, Dialect, ServerConnection
from bulkhead.engine.errors import ConfigurationInvalid
from bulkhead.engine.extract.introspect import introspect
from bulkhead.engine.extract.model import Extracted
from bulkhead.engine.fleet.connection import TenantConnection
from bulkhead.engine.fleet.databases import Databases
from bulkhead.engine.fleet.journal import Journal
from bulkhead.engine.fleet.model import ServerKind, TenantRow
from bulkhead.engine.fleet.owner import Managed, as_owner, find_managed
from bulkhead.engine.fleet.registry import FIRST
from bulkhead.engine.migrations.files import Migration, MigrationSet
from bulkhead.engine.migrations.plan import Direction, Plan, plan_apply, plan_rollback
from bulkhead.engine.migrations.registry import Applied, ensure_registry, list_applied, record
from bulkhead.engine.migrations.run import LOCK_TIMEOUT_S, StepDone, run_plan, set_scope

STATEMENT_TIMEOUT_S: Final = 3600.0


@dataclass(frozen=True, slots=True, eq=False)
class FleetMigrations:
    """The migrations of a fleet: a set of files for each dialect, with the same versions."""

    fleet: str
    sets: Mapping[Dialect, MigrationSet]
    expected: Callable[[Dialect], Extracted] | None = None
    """What a database has once it had all of them; its part of a database gives the fingerprint."""

    def __post_init__(self) -> None:
        """Raises ConfigurationInvalid for dialects that are not at the same version."""
        if len({each.latest for each in self.sets.values()}) > 1:
            raise ConfigurationInvalid(
                reason=f"the migrations of fleet '{self.fleet}' differ between its dialects"
            )

    @property
    def latest(self) -> int:
        """The newest version; 0 where there are none."""
        return max((each.latest for each in self.sets.values()), default=0)

    def set_for(self, dialect: Dialect) -> MigrationSet:
        """The files for `dialect`; raises ConfigurationInvalid where there are none."""
        if dialect not in self.sets:
            raise ConfigurationInvalid(
                reason=f"fleet '{self.fleet}' has no migrations for {dialect.value}"
            )
        return self.sets[dialect]


@dataclass(frozen=True, slots=True)
class Migrated:
    """A tenant that is where it should be."""

    version: int
    fingerprint: str | None
    steps: tuple[StepDone, ...]


@dataclass(frozen=True, slots=True)
class Aim:
    """Where a tenant shall come to."""

    direction: Direction
    version: int

    def plan(self, database: str, files: MigrationSet, applied: Sequence[Applied]) -> Plan:
        """The way from what was applied; nothing when it is past the aim already."""
        target = {files.namespace: self.version}
        if self.direction is Direction.UP:
            return plan_apply(database, [files], applied, target)
        return plan_rollback(database, [files], applied, target)


class _NotNoted(Exception):
    """A database does not know yet of the migrations with which it was made."""


async def migrate_tenant(
    databases: Databases, tenant: TenantRow, migrations: FleetMigrations, aim: Aim
) -> Migrated:
    """Bring the tenant's database to `aim`; may be repeated after it was interrupted anywhere.

    On a PostgreSQL server of the fleet and on one that its owner runs it is one transaction; on
    MySQL each statement is journaled. Raises what `engine.migrations` and `Journal.run` raise. The
    registry is not changed.
    """
    is_mysql = tenant.place.kind is ServerKind.MYSQL
    files = migrations.set_for(Dialect.MYSQL if is_mysql else Dialect.POSTGRESQL)
    baseline = files.migrations[: tenant.schema_version]
    managed = await find_managed(databases, tenant.place)
    if managed is not None and not is_mysql:
        return await _migrate_managed(managed, files, baseline, migrations, aim)
    async with as_owner(databases, tenant) as connection:
        wrapped = TenantConnection(connection, tenant.id, timeout_s=STATEMENT_TIMEOUT_S)
        database = tenant.place.database
        journal = Journal(wrapped, database)
        steps = await journal.run(lambda applied: aim.plan(database, files, applied), baseline)
        return Migrated(aim.version, await _fingerprint(connection, migrations), steps)


async def migrate_clone(
    connection: ServerConnection, spec: DatabaseSpec, migrations: FleetMigrations
) -> None:
    """Run what a PostgreSQL database lacks by its own record, which came from its template.

    `connection` is its owner's. For the provisioning of a fleet; may be repeated. Raises what
    `engine.migrations` raises.
    """
    files, aim = migrations.set_for(connection.dialect), Aim(Direction.UP, migrations.latest)
    raw: Any = connection.raw  # type: ignore[attr-defined]
    await run_plan(
        raw,
        spec,
        lambda applied: aim.plan(spec.name, files, applied),
        expected_hash=None,
        lock_timeout_s=LOCK_TIMEOUT_S,
    )


async def note_versions(
    connection: ServerConnection, spec: DatabaseSpec | None, migrations: FleetMigrations
) -> None:
    """Note every migration in a database whose tables are what is declared now.

    `connection` is its owner's. For the provisioning of a fleet.
    """
    files = migrations.set_for(connection.dialect)
    if spec is None or connection.dialect is Dialect.MYSQL:
        wrapped = TenantConnection(connection, FIRST, timeout_s=STATEMENT_TIMEOUT_S)
        name = spec.name if spec is not None else "outside"
        await Journal(wrapped, name).note_all(files.migrations)
        return
    raw: Any = connection.raw  # type: ignore[attr-defined]
    try:
        async with raw.transaction():
            await ensure_registry(raw)
            await _note_baseline(raw, files.namespace, files.migrations)
    except FAILURES as error:
        raise translate(error) from error


async def _migrate_managed(
    managed: Managed,
    files: MigrationSet,
    baseline: Sequence[Migration],
    migrations: FleetMigrations,
    aim: Aim,
) -> Migrated:
    spec = managed.spec

    def plan(applied: Sequence[Applied]) -> Plan:
        if baseline and not any(each.namespace == files.namespace for each in applied):
            raise _NotNoted
        return aim.plan(spec.name, files, applied)

    async with managed.administer() as raw:
        run_it = partial(
            run_plan, raw, spec, plan, expected_hash=None, lock_timeout_s=LOCK_TIMEOUT_S
        )
        try:
            run = await run_it()
        except _NotNoted:
            async with raw.transaction():
                await set_scope(raw, spec)
                await ensure_registry(raw)
                await _note_baseline(raw, files.namespace, baseline)
            run = await run_it()
        fingerprint = await _fingerprint(PostgresConnection(raw), migrations)
    return Migrated(aim.version, fingerprint, run.steps)


async def _note_baseline(raw: Any, namespace: str, baseline: Sequence[Migration]) -> None:  # noqa: ANN401
    had = {row.version for row in await list_applied(raw) if row.namespace == namespace}
    for migration in baseline:
        if migration.version not in had:
            await record(raw, migration, 0, mirrored=False)


async def _fingerprint(connection: ServerConnection, migrations: FleetMigrations) -> str | None:
    """Of what the fleet declares, None where it does not say what that is."""
    if migrations.expected is None:
        return None
    found = await introspect(connection)
    return found.only(migrations.expected(connection.dialect).catalogue.objects).fingerprint
