"""Migrate a fleet: the registry knows who is behind, so that nobody who is not is asked.

A few tenants go first; when they are well, waves of the others follow. Each tenant's outcome is
kept, so that a run which was interrupted goes on with those that are left, and several processes
share one. Too many failures stop it: the tenants that are done stay as they are, which the code has
to bear anyway while a fleet is on its way.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

from bulkhead.engine import failpoints
from bulkhead.engine.clock import monotonic_s
from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.connections.database import OpenDatabase
from bulkhead.engine.errors import BulkheadError
from bulkhead.engine.fleet.databases import Databases
from bulkhead.engine.fleet.migrate_claim import (
    LEASE_S,
    QUERIES,
    Claim,
    Held,
    begin_run,
    is_kept,
    is_passing,
    keeping,
    leave,
    list_held,
    ms_since,
    note_failed,
    note_migrated,
)
from bulkhead.engine.fleet.migrate_tenant import Aim, FleetMigrations, migrate_tenant
from bulkhead.engine.fleet.model import TenantId, TenantRow
from bulkhead.engine.fleet.names import TenantNames
from bulkhead.engine.fleet.parallel import stop_all
from bulkhead.engine.fleet.registry import tenant_of
from bulkhead.engine.migrations.plan import Direction, MigrationUnknown
from bulkhead.engine.ongoing import claimed

ATTEMPTS_MAX: Final = 3
RETRY_S: Final = 2.0
POLL_S: Final = 0.2
CLAIM_AHEAD: Final = 4
"""So many times what is migrated at once is claimed at a time."""
FAILED_MAX: Final = 200

CLAIMED: Final = failpoints.register("fleet.migrate:claimed")
MIGRATED: Final = failpoints.register("fleet.migrate:migrated")
NOTED: Final = failpoints.register("fleet.migrate:noted")

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RollOut:
    """How carefully a fleet is migrated."""

    canary: int = 1
    """So many go first, and none of them may fail."""
    wave: int = 200
    """The size of each wave after that."""
    parallel: int = 4
    """How many tenants are migrated at once."""
    failures_max: int = 0
    """More than so many stop the run when their wave has ended."""
    retry_s: float = RETRY_S
    lease_s: float = LEASE_S
    """Whoever takes longer for one tenant is taken for dead."""
    tenants: tuple[TenantId, ...] | None = None
    """Only these; None for all."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run has come, after each tenant."""

    total: int
    """How many were due when it began."""
    done: int
    failed: int
    wave: int
    """0 for the canaries."""
    tenant: TenantId
    error: BulkheadError | None
    duration_ms: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run of this process ended."""

    state: str
    """`done`, or `stopped` because of failures."""
    total: int
    done: int
    failed: int
    waves: int
    duration_s: float
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Due:
    """How many tenants are not where they should be."""

    due: int
    """Those that can be migrated now."""
    waiting: int
    """Those that are being moved: they come along once that was confirmed or taken back."""
    held: tuple[Held, ...] = ()
    """The same ones, the oldest move first."""


@dataclass(frozen=True, slots=True)
class SchemaShare:
    """Tenants of one kind with the same schema."""

    kind: str
    version: int
    fingerprint: str | None
    tenants: int
    failed: int
    running: int


@dataclass(frozen=True, slots=True)
class Failure:
    """A tenant whose last migration failed."""

    tenant: TenantId
    target: int
    attempts: int
    error: Mapping[str, Any]


Tell = Callable[[Progress], None]


@dataclass(slots=True)
class _Tally:
    total: int
    wave: int = 0
    done: int = 0
    failed: int = 0
    tell: Tell = field(default=lambda _: None)

    def note(self, tenant: TenantId, error: BulkheadError | None, duration_ms: int) -> None:
        if error is None:
            self.done += 1
        else:
            self.failed += 1
        self.tell(
            Progress(self.total, self.done, self.failed, self.wave, tenant, error, duration_ms)
        )


@dataclass(frozen=True, slots=True)
class _Run:
    id: UUID
    aim: Aim
    options: RollOut
    tally: _Tally


@dataclass(frozen=True, slots=True)
class _Claimed:
    tenant: TenantRow
    attempts: int
    claim: Claim


@dataclass(slots=True, eq=False)
class FleetMigrator:
    """Migrates the tenants of one fleet."""

    databases: Databases
    migrations: FleetMigrations
    owner: str
    """The process, for people who look at the table."""
    names: TenantNames | None = None
    """What people call the tenants."""

    async def count_due(
        self, aim: Aim | None = None, tenants: Sequence[TenantId] | None = None
    ) -> int:
        """How many tenants are not where they should be: one query where there are none.

        Without those that are being moved, which nobody can migrate at the moment.
        """
        return (await self.measure_due(aim, tenants)).due

    async def measure_due(
        self, aim: Aim | None = None, tenants: Sequence[TenantId] | None = None
    ) -> Due:
        """As `count_due`, with those that have to wait."""
        aim = aim or Aim(Direction.UP, self.migrations.latest)
        scope, held = self._scope(aim, tenants), dict[TenantId, Held]()
        async with self._registry.transaction(SERVICE, read_only=True) as tx:
            row = await tx.fetchrow(QUERIES.count_due, *scope, [])
            if row is not None and (row["due"] or row["waiting"]):
                held.update(await list_held(tx, self.migrations.fleet))
                row = await tx.fetchrow(QUERIES.count_due, *scope, list(held))
        assert row is not None, "it counts"
        waiting = set(row["waiting"])
        told = tuple(each for each in held.values() if each.tenant in waiting)
        return Due(row["due"], len(waiting), told)

    async def apply(
        self,
        options: RollOut | None = None,
        *,
        version: int | None = None,
        tell: Tell | None = None,
    ) -> Outcome:
        """Bring every tenant up to `version`, else to the newest; goes on with what was left.

        Tenants that are provisioning, moving or deleting are left out. What fails is in the
        outcome, and for each tenant in `list_failed`.
        """
        version = self.migrations.latest if version is None else version
        return await self._reach(Aim(Direction.UP, version), options or RollOut(), tell)

    async def roll_back(
        self, version: int, options: RollOut | None = None, *, tell: Tell | None = None
    ) -> Outcome:
        """Take every tenant back to `version`; data in dropped columns and tables is gone."""
        return await self._reach(Aim(Direction.DOWN, version), options or RollOut(), tell)

    async def status(self) -> tuple[SchemaShare, ...]:
        """How many tenants have which schema; several fingerprints of one version are drift."""
        async with self._registry.transaction(SERVICE, read_only=True) as tx:
            rows = await tx.fetch(QUERIES.sum_fleet, self.migrations.fleet)
        return tuple(SchemaShare(*row.values()) for row in rows)

    async def list_failed(self) -> tuple[Failure, ...]:
        """Tenants whose last migration failed, at most `FAILED_MAX`."""
        async with self._registry.transaction(SERVICE, read_only=True) as tx:
            rows = await tx.fetch(QUERIES.list_failed, self.migrations.fleet, FAILED_MAX)
        return tuple(
            Failure(row["tenant"], row["target"], row["attempts"], json.loads(row["error"]))
            for row in rows
        )

    @property
    def _registry(self) -> OpenDatabase:
        return self.databases.registry

    def _scope(self, aim: Aim, tenants: Sequence[TenantId] | None) -> tuple[Any, ...]:
        chosen = list(tenants) if tenants is not None else None
        return (self.migrations.fleet, aim.direction.value, aim.version, chosen)

    async def _reach(self, aim: Aim, options: RollOut, tell: Tell | None) -> Outcome:
        if not 0 <= aim.version <= self.migrations.latest:
            name = f"{self.migrations.fleet}/{aim.version:04}"
            raise MigrationUnknown(database=self.migrations.fleet, migration=name)
        began_s = monotonic_s()
        due = await self.count_due(aim, options.tenants)
        if due == 0:
            return Outcome("done", 0, 0, 0, 0, monotonic_s() - began_s)
        tally = _Tally(due)
        if tell is not None:
            tally.tell = tell
        run = _Run(await self._begin(aim), aim, options, tally)
        reason = await self._run_waves(run)
        state = "done" if reason is None and tally.failed == 0 else "stopped"
        if state == "stopped":
            reason = reason or f"{tally.failed} tenants failed"
        async with self._registry.transaction(SERVICE) as tx:
            await tx.execute(QUERIES.end_run, run.id, state, reason)
        took_s = monotonic_s() - began_s
        return Outcome(state, due, tally.done, tally.failed, tally.wave + 1, took_s, reason)

    async def _begin(self, aim: Aim) -> UUID:
        async with self._registry.transaction(SERVICE) as tx:
            return await begin_run(tx, self.migrations.fleet, aim)

    async def _run_waves(self, run: _Run) -> str | None:
        """Wave after wave; why it was stopped, None when nobody is left."""
        for number, size in enumerate(wave_sizes(run.options)):
            run.tally.wave = number
            before = run.tally.done + run.tally.failed
            await self._run_wave(run, size)
            reason = await self._find_stop(run, number)
            if reason is not None:
                return reason
            ended = run.tally.done + run.tally.failed - before
            if ended < size and not await self._wait_for_others(run):
                return None
        return None

    async def _find_stop(self, run: _Run, wave: int) -> str | None:
        failed, most = run.tally.failed, run.options.failures_max
        if wave == 0 and failed and run.options.canary:
            return f"{failed} of those that went first failed"
        if failed > most:
            return f"{failed} tenants failed, more than {most}"
        async with self._registry.transaction(SERVICE, read_only=True) as tx:
            going_on = await tx.fetchval(QUERIES.is_running, run.id)
        return None if going_on else "it was stopped by another process"

    async def _wait_for_others(self, run: _Run) -> bool:
        """Whether some tenants may come back: they wait for another try, or somebody has them."""
        async with self._registry.transaction(SERVICE, read_only=True) as tx:
            held = await list_held(tx, self.migrations.fleet)
            chosen = run.options.tenants
            row = await tx.fetchrow(QUERIES.sum_run, run.id, chosen and list(chosen), list(held))
        if row is None or not (row["waiting"] or row["running"]):
            return False
        await asyncio.sleep(POLL_S)
        return True

    async def _run_wave(self, run: _Run, size: int) -> None:
        """Migrate at most `size` tenants, a few at once; the next ones are claimed in time."""
        left, options = size, run.options
        ready: list[_Claimed] = []
        pending: dict[asyncio.Task[None], _Claimed] = {}
        try:
            while True:
                if left > 0 and len(ready) + len(pending) < options.parallel:
                    taken = await self._claim(run, min(left, options.parallel * CLAIM_AHEAD))
                    left = left - len(taken) if taken else 0
                    ready += taken
                while ready and len(pending) < options.parallel:
                    first = ready.pop(0)
                    pending[asyncio.create_task(self._migrate(run, first))] = first
                if not pending:
                    return
                done, _ = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    del pending[task]
                    task.result()
        except asyncio.CancelledError:
            await stop_all(pending)
            await self._leave([*ready, *pending.values()])
            raise
        finally:
            await stop_all(pending)

    async def _claim(self, run: _Run, limit: int) -> list[_Claimed]:
        return await claimed(self._take(run, limit), self._leave)

    async def _leave(self, taken: Sequence[_Claimed]) -> None:
        await leave(self._registry, [each.claim for each in taken])

    async def _take(self, run: _Run, limit: int) -> list[_Claimed]:
        scope = self._scope(run.aim, run.options.tenants)
        async with self._registry.transaction(SERVICE) as tx:
            held = await list_held(tx, self.migrations.fleet)
            lease_s, owner = run.options.lease_s, self.owner
            rows = await tx.fetch(QUERIES.claim, *scope, run.id, owner, lease_s, limit, list(held))
            # A move that began in the same instant is seen only now that the tenant is locked.
            held = await list_held(tx, self.migrations.fleet)
            if moved := [row["id"] for row in rows if row["id"] in held]:
                await tx.execute(QUERIES.unclaim, moved)
        await failpoints.reach(CLAIMED)
        return [
            _Claimed(tenant_of(row), row["attempts"], Claim(row["id"], row["started_at"], lease_s))
            for row in rows
            if row["id"] not in held
        ]

    async def _migrate(self, run: _Run, taken: _Claimed) -> None:
        if not await is_kept(self._registry, taken.claim):
            return  # It waited for its turn for too long, and is claimed anew.
        tenant, began_s = taken.tenant, monotonic_s()
        error: BulkheadError | None = None
        try:
            async with keeping(self._registry, taken.claim):
                migrated = await migrate_tenant(self.databases, tenant, self.migrations, run.aim)
                await failpoints.reach(MIGRATED)
                duration_ms, server = ms_since(began_s), tenant.place.server
                async with self._registry.transaction(SERVICE) as tx:
                    await note_migrated(tx, tenant.id, server, migrated, duration_ms)
        except BulkheadError as failure:
            error, duration_ms = failure, ms_since(began_s)
            again = is_passing(error) and taken.attempts < ATTEMPTS_MAX
            retry_s = run.options.retry_s * taken.attempts if again else None
            async with self._registry.transaction(SERVICE) as tx:
                await note_failed(tx, taken.claim, error, duration_ms, retry_s)
        await failpoints.reach(NOTED)
        if error is None or not again:
            run.tally.note(tenant.id, error, duration_ms)


def wave_sizes(options: RollOut) -> Iterator[int]:
    """The canaries, then waves without end."""
    if options.canary > 0:
        yield options.canary
    while True:
        yield max(1, options.wave)
