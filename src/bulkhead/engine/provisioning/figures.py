"""Figures about a fleet: its connections in this process, its tenants, jobs, moves and migrations.

No figure is labelled with a tenant or with the host of one, so that their number does not grow with
the fleet. Servers that are not managed here count as one, `outside`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from bulkhead.engine.clock import monotonic_s
from bulkhead.engine.connections.claims import SERVICE
from bulkhead.engine.connections.queries import load_queries
from bulkhead.engine.errors import BulkheadError
from bulkhead.engine.fleet.model import TenantState
from bulkhead.engine.monitoring.metrics import Figure
from bulkhead.engine.provisioning.job import ENDED, JobState

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from enum import StrEnum

    from bulkhead.engine.fleet.fleet import Fleet
    from bulkhead.engine.fleet.migrate import FleetMigrator

QUERIES: Final = load_queries(__package__, "figures.sql")
SAMPLE_EVERY_S: Final = 15.0
STRANDED_S: Final = 60.0
"""A job that is due and that nobody has taken up for so long finds no worker."""
SERVERS_MAX: Final = 200
"""So many servers have figures of their own."""
CARE: Final = {
    "migrations_failed": "Tenants whose last migration failed for good",
    "moves_open": "Moves that are not confirmed or taken back",
    "moves_late": "Moves whose time is over",
    "deletions_waiting": "Tenants that are to be dropped",
    "deletions_failing": "Tenants whose last attempt to be dropped failed",
    "servers_untold": "Tenants whose server has still to be told of their state",
    "tenants_orphaned": "Tenants being provisioned by no job",
}

Labels = dict[str, str]


def fleet_figures(fleet: Fleet, labels: Labels) -> Iterator[Figure]:
    """What this process knows of its connections to tenants; asks nobody."""
    stats = fleet.stats()
    yield Figure("fleet_tenants_known", stats.tenants, labels, "Tenants in memory")
    for server, use in sorted(stats.by_server.items()):
        of = {**labels, "server": server}
        yield Figure("fleet_pools", use.pools, of, "Tenants with a pool of connections")
        for state, count in (("in_use", use.in_use), ("idle", use.idle)):
            name = "Connections to databases of tenants"
            yield Figure("fleet_connections", count, {**of, "state": state}, name)
        if use.limit is not None:
            most = "How many connections the server may be given"
            yield Figure("fleet_connections_limit", use.limit, of, most)
        yield Figure("fleet_waiting", use.waiting, of, "Requests that wait for a connection")
        refused = "Tenants whose database is left alone for a moment"
        yield Figure("fleet_breakers_open", use.breakers_open, of, refused)
        away = "Hosts to which no connection can be opened"
        yield Figure("fleet_hosts_down", use.hosts_down, of, away)


@dataclass(slots=True, eq=False)
class FleetSampler:
    """Keeps the figures of the last look into the registry, which one query after another makes."""

    fleet: Fleet
    migrator: FleetMigrator
    _figures: tuple[Figure, ...] = ()
    _sampled_at_s: float | None = None

    async def run(self) -> None:
        """Look again and again, until cancelled; what was seen last stays while it is away."""
        while True:
            with suppress(BulkheadError):  # The age of the figures tells.
                await self.sample()
            await asyncio.sleep(SAMPLE_EVERY_S)

    async def sample(self) -> None:
        """Look into the registry; raises what keeps it from being read."""
        fleet, labels = self.fleet.name, self.labels
        registry = self.fleet.databases.registry
        async with registry.transaction(SERVICE, read_only=True) as tx:
            tenants = {row["state"]: row for row in await tx.fetch(QUERIES.tenants_by_state, fleet)}
            open_jobs = await tx.fetch(QUERIES.jobs_by_state, fleet, STRANDED_S)
            jobs = {row["state"]: row for row in open_jobs}
            ended = {row["state"]: row for row in await tx.fetch(QUERIES.ended_jobs, fleet)}
            servers = await tx.fetch(QUERIES.servers, SERVERS_MAX)
            care = await tx.fetchrow(QUERIES.care, fleet)
        due = await self.migrator.measure_due()
        assert care is not None, "it counts"
        figures = [*_by_state("fleet_tenants", TenantState, tenants, labels, "Tenants")]
        figures += _job_figures(jobs, ended, labels)
        for row in servers:
            of = {**labels, "server": row["name"]}
            figures.append(Figure("fleet_server_tenants", row["tenants"], of, "Tenants placed"))
            capacity = "How many tenants the server takes"
            figures.append(Figure("fleet_server_capacity", row["capacity"], of, capacity))
        figures.append(Figure("fleet_migrations_due", due.due, labels, "Tenants to be migrated"))
        waiting = "Tenants to be migrated once they have been moved"
        figures.append(Figure("fleet_migrations_waiting", due.waiting, labels, waiting))
        for name, description in CARE.items():
            figures.append(Figure(f"fleet_{name}", care[name], labels, description))
        self._figures, self._sampled_at_s = tuple(figures), monotonic_s()

    def figures(self) -> list[Figure]:
        """Everything known now, without waiting."""
        known = [*fleet_figures(self.fleet, self.labels), *self._figures]
        if self._sampled_at_s is not None:
            age_s = monotonic_s() - self._sampled_at_s
            about = "Since the last look into the registry"
            known.append(Figure("fleet_sample_age_seconds", age_s, self.labels, about))
        return known

    @property
    def labels(self) -> Labels:
        """Of every figure."""
        registry = self.fleet.databases.registry
        return {"application": registry.application, "fleet": self.fleet.name}


def _job_figures(
    jobs: Mapping[str, Mapping[str, float]],
    ended: Mapping[str, Mapping[str, float]],
    labels: Labels,
) -> Iterator[Figure]:
    pending = [state for state in JobState if state not in ENDED]
    yield from _by_state("provisioning_jobs", pending, jobs, labels, "Jobs that have not ended")
    for state in pending:
        age_s = jobs[state]["oldest_s"] if state in jobs else 0.0
        of = {**labels, "state": state.value}
        yield Figure("provisioning_oldest_seconds", age_s, of, "Since the oldest job was begun")
    stranded = sum(row["stranded"] for row in jobs.values())
    about = "Jobs that are due and find no worker"
    yield Figure("provisioning_stranded", stranded, labels, about)
    last = sorted(ENDED)
    about = "Jobs that ended within a day"
    yield from _by_state("provisioning_ended_daily", last, ended, labels, about)


def _by_state(
    name: str,
    states: Iterable[StrEnum],
    found: Mapping[str, Mapping[str, float]],
    labels: Labels,
    description: str,
) -> Iterator[Figure]:
    """One figure for each state there is, so that none disappears when it is 0."""
    for state in states:
        count = found[state]["count"] if state in found else 0
        yield Figure(name, count, {**labels, "state": state.value}, description)
