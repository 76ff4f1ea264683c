"""What would be done to a database: from its files and its registry, without touching it."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from bulkhead.engine.errors import BulkheadError, NotFound
from bulkhead.engine.migrations.files import Migration, MigrationSet
from bulkhead.engine.migrations.registry import Applied


class MigrationChanged(BulkheadError):
    """Migration {migration} was changed after database '{database}' had it."""

    code = "migration_changed"
    status = 409
    hint = "Restore the file as it was, and write what is new into a migration of its own."


class DatabaseAhead(BulkheadError):
    """Database '{database}' has had migration {migration}, which this program does not know."""

    code = "database_ahead"
    status = 409
    hint = "Install the release that has it, or roll it back: bulkhead migrate rollback."


class DatabaseBehind(BulkheadError):
    """Database '{database}' lacks migration {migration}, which this program needs{others}."""

    code = "database_behind"
    status = 409
    hint = "Apply what is missing: bulkhead migrate apply -a {application}."


class MigrationOutOfOrder(BulkheadError):
    """Database '{database}' has had {applied} but not {missing}, which comes before it."""

    code = "migration_out_of_order"
    status = 409
    hint = "Give the late migration the next free number."


class MigrationUnknown(NotFound):
    """There is no migration {migration} to go to in database '{database}'."""

    code = "migration_unknown"


class PlanStale(BulkheadError):
    """The plan for database '{database}' is no longer the one that was approved."""

    code = "plan_stale"
    status = 409
    hint = "Look at the present plan and approve it: bulkhead migrate plan."


class Direction(StrEnum):
    """Which part of a migration runs."""

    UP = "up"
    DOWN = "down"


@dataclass(frozen=True, slots=True)
class Step:
    """One migration to run in one direction."""

    direction: Direction
    migration: Migration
    reason: str
    mirrored: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """The steps for one database, and what they were planned from."""

    database: str
    steps: tuple[Step, ...]
    applied: tuple[str, ...]
    """What the database has had, as `namespace/label:checksum`."""

    @property
    def hash(self) -> str:
        """Changes with the database, its state, the steps and their text: pin `apply` to it."""
        steps = [
            f"{step.direction} {step.migration.file}:{step.migration.checksum}"
            for step in self.steps
        ]
        lines = [self.database, *self.applied, *steps]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    def check_hash(self, expected: str | None) -> None:
        """Pass when `expected` is None or this plan's hash; raises PlanStale."""
        if expected is not None and expected != self.hash:
            raise PlanStale(database=self.database)


def plan_apply(
    database: str,
    sets: Sequence[MigrationSet],
    applied: Sequence[Applied],
    target: Mapping[str, int] | None = None,
) -> Plan:
    """Plan every migration that is missing, set after set.

    `target` bounds a namespace: `{"commerce": 7}` stops that set after 0007; nothing is ever
    taken back. Raises MigrationChanged, DatabaseAhead, MigrationOutOfOrder, MigrationUnknown.
    Namespaces that no set has are left alone: another release may have put them there.
    """
    target = target or {}
    _check_targets(database, sets, target)
    steps: list[Step] = []
    for migrations in sets:
        had = [row for row in applied if row.namespace == migrations.namespace]
        check_history(database, migrations, had)
        limit = target.get(migrations.namespace, migrations.latest)
        for migration in migrations.migrations[len(had) : limit]:
            reason = "the database has not had it"
            steps.append(Step(Direction.UP, migration, reason, migrations.mirrored))
    return Plan(database, tuple(steps), _describe(applied))


def plan_rollback(
    database: str,
    sets: Sequence[MigrationSet],
    applied: Sequence[Applied],
    target: Mapping[str, int],
) -> Plan:
    """Plan the way down to `target`, for example `{"commerce": 6}`; 0 takes everything back.

    The text that was applied is what is taken back, so that a database that is ahead of the
    program can come back too. Raises MigrationUnknown for a namespace without a set.
    """
    known = {migrations.namespace for migrations in sets}
    for namespace, version in target.items():
        if namespace not in known or version < 0:
            raise MigrationUnknown(database=database, migration=f"{namespace}/{version:04}")
    steps: list[Step] = []
    for migrations in reversed(sets):
        namespace = migrations.namespace
        if namespace not in target:
            continue
        rows = [row for row in applied if row.namespace == namespace]
        for row in sorted(rows, key=lambda row: -row.version):
            if row.version > target[namespace]:
                migration = _text_of(row, migrations)
                reason = f"the target is {namespace}/{target[namespace]:04}"
                steps.append(Step(Direction.DOWN, migration, reason, migrations.mirrored))
    return Plan(database, tuple(steps), _describe(applied))


def check_history(database: str, migrations: MigrationSet, had: Sequence[Applied]) -> None:
    """Pass when `had` is a beginning of the set; raises what `plan_apply` raises."""
    for row in had:
        file = migrations.find(row.version)
        name = f"{row.namespace}/{row.label}"
        if file is None:
            raise DatabaseAhead(database=database, migration=name)
        if file.checksum != row.checksum:
            raise MigrationChanged(database=database, migration=file.file)
    versions = {row.version for row in had}
    for version in range(1, max(versions, default=0)):
        if version not in versions:
            last = max(had, key=lambda row: row.version)
            missing = migrations.migrations[version - 1].label
            raise MigrationOutOfOrder(database=database, applied=last.label, missing=missing)


def _check_targets(database: str, sets: Sequence[MigrationSet], target: Mapping[str, int]) -> None:
    latest = {migrations.namespace: migrations.latest for migrations in sets}
    for namespace, version in target.items():
        if not 0 <= version <= latest.get(namespace, -1):
            raise MigrationUnknown(database=database, migration=f"{namespace}/{version:04}")


def _text_of(row: Applied, migrations: MigrationSet) -> Migration:
    file = migrations.find(row.version)
    return file if file is not None and file.checksum == row.checksum else row.migration


def _describe(applied: Sequence[Applied]) -> tuple[str, ...]:
    return tuple(f"{row.namespace}/{row.label}:{row.checksum}" for row in applied)
