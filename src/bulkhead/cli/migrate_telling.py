"""What `bulkhead migrate ... --tenants` tells of tenants while it is at them, and afterwards."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import click

from bulkhead.cli.output import Output, is_terminal
from bulkhead.engine.errors import BulkheadError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from bulkhead.engine.fleet.migrate import FleetMigrator, Progress
    from bulkhead.engine.fleet.migrate_claim import Held
    from bulkhead.engine.fleet.model import TenantId

HELD_MAX: Final = 20
"""So many of those that wait are told of one by one."""


async def name_tenants(
    migrator: FleetMigrator, tenants: Iterable[TenantId]
) -> Mapping[TenantId, str]:
    """How people are told of tenants: by name and id, or by the id alone."""
    wanted = list(tenants)
    found = await migrator.names.find(wanted) if migrator.names is not None and wanted else {}
    return {each: f"{found[each]} ({each})" if each in found else str(each) for each in wanted}


async def tell_held(output: Output, migrator: FleetMigrator, held: Sequence[Held]) -> None:
    """Tell which tenants wait because they are being moved, and what for."""
    shown = held[:HELD_MAX]
    names = await name_tenants(migrator, [each.tenant for each in shown])
    for each in shown:
        output.note(f"{names[each.tenant]}  waits: {_what_for(each)}")
    if more := len(held) - len(shown):
        output.note(f"{more} more wait for their moves.")


def _what_for(held: Held) -> str:
    if held.step != "verified":
        return f"it is being moved to '{held.target}' ({held.step})"
    return (
        f"its move to '{held.target}' is neither confirmed nor reverted; "
        f"that holds it until {held.deadline_at:%Y-%m-%d %H:%M} UTC"
    )


@dataclass(slots=True)
class Telling:
    """Tells of the progress of a run; of those that failed as soon as their names are known."""

    output: Output
    migrator: FleetMigrator
    _failures: set[asyncio.Task[None]] = field(default_factory=set)

    def tell(self, progress: Progress) -> None:
        """For `FleetMigrator.apply`."""
        if self.output.quiet:
            return
        if progress.error is not None:
            task = asyncio.create_task(self._tell_failure(progress.tenant, progress.error.message))
            self._failures.add(task)
        ended = progress.done + progress.failed
        line = (
            f"wave {progress.wave} · {ended} of {progress.total} · {progress.failed} failed"
            f" · {progress.duration_ms} ms"
        )
        if is_terminal():
            click.echo(f"\r\033[K{line}", nl=False, err=True)
        elif ended == progress.total or ended % max(1, progress.total // 10) == 0:
            click.echo(line, err=True)

    async def finish(self) -> None:
        """Return once everything is told."""
        if self._failures:
            await asyncio.wait(self._failures)

    async def _tell_failure(self, tenant: TenantId, message: str) -> None:
        name = str(tenant)
        with suppress(BulkheadError):  # The run itself says what is wrong with the registry.
            name = (await name_tenants(self.migrator, [tenant]))[tenant]
        click.echo(f"\r{name}  {message}", err=True)
